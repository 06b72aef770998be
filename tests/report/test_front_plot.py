"""The picture of accuracy against bytes: its contents, and that rows with any text can be drawn."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from compress.report import front_plot, tables
from compress.report.references import read_references
from compress.rows.result import Result
from support.report_rows import PUBLISHED, bits, digest, example, flipped, pruned, row

BASE = bits(9000)


def drawn(folder: Path, *rows: Result) -> str:
    """The SVG of accuracy against bytes; Matplotlib writes each text it draws into a comment."""
    figures = read_references([PUBLISHED])
    _, svg = front_plot.accuracy_against_bytes(tables.compared(rows, figures), figures, folder)
    return svg.read_text()


def test_each_data_set_has_a_panel_and_points_on_the_front_have_names(tmp_path: Path) -> None:
    svg = drawn(tmp_path, *example())
    for title in ("cifar10: 10,000 test images", "cifar10-sample: 1,000 test images"):
        assert f"<!-- {title} -->" in svg
    # "--" is not allowed in an XML comment, so Matplotlib writes "- -".
    assert "prune - -sparsity 0.9" in svg


def test_contradictory_published_accuracies_are_drawn_beside_their_data_only(
    tmp_path: Path,
) -> None:
    svg = drawn(tmp_path, row(BASE), pruned(flipped(BASE, 40, 50), file_bytes=90_000))
    assert "published, validation: 92.63 %, contradicted by 85.43 % published on test" in svg
    assert "published size: under 100 KB" in svg
    assert "published" not in drawn(tmp_path, row(bits(880, 1000), data="cifar10-sample"))


def test_rows_off_the_front_have_no_name_and_the_legend_few_entries(tmp_path: Path) -> None:
    worse = [pruned(flipped(BASE, 60 + s, 50, s), seed=s, file_bytes=490_000) for s in range(30)]
    svg = drawn(tmp_path, row(BASE), *worse)
    assert "<!-- prune" not in svg
    assert svg.count('<g id="legend_1">') == 1
    assert svg.split('<g id="legend_1">')[1].count("<!-- ") <= 6


def test_two_models_with_the_same_label_get_their_digests(tmp_path: Path) -> None:
    small = row(bits(8950), model=digest("other"), file_bytes=90_000)
    svg = drawn(tmp_path, row(BASE), small)
    assert f"baseline (of {digest('cnn')[:12]})" in svg
    assert f"baseline (of {digest('other')[:12]})" in svg


def test_a_training_and_its_baseline_are_drawn_as_one_point(tmp_path: Path) -> None:
    trained = row(BASE, label="train")
    assert "<!-- train -->" not in drawn(tmp_path, trained, row(BASE))
    assert "<!-- train -->" in drawn(tmp_path, trained)


def test_rows_below_the_picture_are_listed_in_words(tmp_path: Path) -> None:
    bad = pruned(bits(4000), 0.9, file_bytes=470_000)
    svg = drawn(tmp_path, row(BASE), bad)
    assert "1 row lies below the picture: prune - -sparsity 0.9, 40.00 %." in svg


@pytest.mark.parametrize("label", ["$\\frac{$", "_hidden", "--><script>", "\u4e2d\x00", "x" * 500])
def test_any_label_can_be_drawn(tmp_path: Path, label: str) -> None:
    svg = drawn(tmp_path, row(BASE), pruned(flipped(BASE, 40, 50), label=label))
    ElementTree.fromstring(svg)
    assert "<script" not in svg


def test_only_6_to_8_of_many_models_on_the_front_are_named(tmp_path: Path) -> None:
    rows = [
        pruned(flipped(BASE, 9 * i, 0, i), 0.02 * i, file_bytes=480_000 - 9000 * i)
        for i in range(1, 45)
    ]
    svg = drawn(tmp_path, row(BASE), *rows)
    assert 6 <= svg.count("<!-- prune - -sparsity") <= 8


def test_shortened_labels_of_different_models_stay_different(tmp_path: Path) -> None:
    begun = "prune --sparsity 0.5 --epochs 30 quantize --scheme"
    rows = [
        pruned(flipped(BASE, 9 * i, 0, i), label=f"{begun} {s}", file_bytes=90_000 - 9000 * i)
        for i, s in enumerate(("int4", "int8"))
    ]
    svg = drawn(tmp_path, row(BASE), *rows)
    assert "quantize - -scheme int4 -->" in svg
    assert "quantize - -scheme int8 -->" in svg
