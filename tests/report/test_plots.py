"""Pictures: what is drawn in them, and that the same numbers give the same bytes."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from compress.report import plots, tables
from compress.report.references import read_references
from compress.rows.result import Result
from support.fresh_python import printed_by
from support.report_rows import PUBLISHED, bits, digest, example, flipped, pruned, row

BASE = bits(9000)
HISTORY = [
    {
        "epoch": e, "loss": 2 / e, "accuracy": 0.5 + 0.04 * e, "cross_entropy": 1.9 / e,
        "validation_accuracy": 0.5 + 0.1 * e - 0.01 * e * e, "validation_cross_entropy": 1.5 / e,
        "learning_rate": 0.1, "seconds": 30.0,
    }
    for e in range(1, 9)
]  # fmt: skip


def drawn(folder: Path, *rows: Result) -> str:
    """The SVG of accuracy against bytes; Matplotlib writes each text it draws into a comment."""
    figures = read_references([PUBLISHED])
    _, svg = plots.accuracy_against_bytes(tables.compared(rows, figures), figures, folder)
    return svg.read_text()


def test_curves_are_a_png_and_an_svg(tmp_path: Path) -> None:
    png, svg = plots.training_curves(HISTORY, tmp_path / "training_curves")
    assert [p.name for p in (png, svg)] == ["training_curves.png", "training_curves.svg"]
    assert png.read_bytes().startswith(b"\x89PNG\r\n")
    assert ElementTree.fromstring(svg.read_bytes()).tag.endswith("svg")


def test_curves_name_the_best_epoch_of_each_quantity(tmp_path: Path) -> None:
    _, svg = plots.training_curves(HISTORY, tmp_path / "curves")
    # 0.5 + 0.1 e - 0.01 e^2 is highest at e = 5; 1.5 / e is lowest at the last.
    assert "best validation: 75.00 %, epoch 5" in svg.read_text()
    assert "best validation: 0.1875, epoch 8" in svg.read_text()


def test_of_equal_epochs_the_first_is_best(tmp_path: Path) -> None:
    flat = [h | {"validation_accuracy": 0.5} for h in HISTORY]
    _, svg = plots.training_curves(flat, tmp_path / "curves")
    assert "best validation: 50.00 %, epoch 1" in svg.read_text()


def test_curves_of_one_epoch_can_be_seen(tmp_path: Path) -> None:
    one, _ = plots.training_curves(HISTORY[:1], tmp_path / "one" / "curves")
    two, _ = plots.training_curves(HISTORY[:2], tmp_path / "two" / "curves")
    assert one.stat().st_size > 5000
    assert one.read_bytes() != two.read_bytes()


def test_no_epoch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no epochs to draw"):
        plots.training_curves([], tmp_path / "curves")
    assert list(tmp_path.iterdir()) == []


def test_a_picture_holds_no_date_and_no_version(tmp_path: Path) -> None:
    for path in plots.training_curves(HISTORY, tmp_path / "curves"):
        content = path.read_bytes()
        assert b"Matplotlib v" not in content
        assert b"matplotlib.org" not in content
        assert b"dc:date" not in content
        assert b"tEXt" not in content


def test_the_same_history_gives_the_same_bytes(tmp_path: Path) -> None:
    first = plots.training_curves(HISTORY, tmp_path / "first" / "curves")
    second = plots.training_curves(HISTORY, tmp_path / "second" / "curves")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_each_data_set_has_a_panel_and_each_model_a_name(tmp_path: Path) -> None:
    svg = drawn(tmp_path, *example())
    for title in ("cifar10: 10,000 test images", "cifar10-sample: 1,000 test images"):
        assert f"<!-- {title} -->" in svg
    # "--" may not stand in an XML comment, so Matplotlib parts it.
    assert "prune - -sparsity 0.9" in svg


def test_published_accuracies_are_drawn_as_contradictory_and_only_beside_their_data(
    tmp_path: Path,
) -> None:
    svg = drawn(tmp_path, row(BASE))
    assert "published, validation: 92.63 %" in svg
    assert "contradicted by 85.43 % published on test" in svg
    assert "published size: under 100 KB" in svg
    assert "published" not in drawn(tmp_path, row(bits(880, 1000), data="cifar10-sample"))


def test_seeds_of_one_thing_share_a_name(tmp_path: Path) -> None:
    rows = [pruned(flipped(BASE, 60, 50, s), seed=s) for s in range(3)]
    assert drawn(tmp_path, row(BASE), *rows).count("<!-- prune - -sparsity 0.5 -->") == 1


def test_two_models_with_the_same_label_are_told_apart(tmp_path: Path) -> None:
    svg = drawn(tmp_path, row(BASE), row(bits(8000), model=digest("other")))
    assert f"baseline (of {digest('cnn')[:12]})" in svg
    assert f"baseline (of {digest('other')[:12]})" in svg


def test_a_training_and_its_baseline_are_one_point(tmp_path: Path) -> None:
    trained = row(BASE, label="train")
    assert "<!-- train -->" not in drawn(tmp_path, trained, row(BASE))
    assert "<!-- train -->" in drawn(tmp_path, trained)


@pytest.mark.parametrize("label", ["$\\frac{$", "_hidden", "--><script>", "\u4e2d\x00", "x" * 500])
def test_any_label_can_be_drawn(tmp_path: Path, label: str) -> None:
    svg = drawn(tmp_path, row(BASE), pruned(flipped(BASE, 60, 50), label=label))
    ElementTree.fromstring(svg)
    assert "<script" not in svg


def test_many_models_can_be_drawn(tmp_path: Path) -> None:
    rows = [pruned(flipped(BASE, 9 * i, 0, i), 0.02 * i) for i in range(1, 45)]
    svg = drawn(tmp_path, row(BASE), *rows)
    assert svg.count("<!-- prune - -sparsity") == 44


def test_drawing_leaves_pyplot_alone() -> None:
    code = (
        "import sys, tempfile, pathlib\n"
        "from compress.report import plots\n"
        "row = dict.fromkeys(('accuracy', 'cross_entropy', 'validation_accuracy',"
        " 'validation_cross_entropy'), 0.5) | {'epoch': 1}\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    plots.training_curves([row], pathlib.Path(folder, 'curves'))\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    assert printed_by(code) == "False"


def test_long_labels_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    begun = "prune --sparsity 0.5 --epochs 30 quantize --scheme"
    rows = [pruned(flipped(BASE, 60, 50), label=f"{begun} {s}") for s in ("int4", "int8")]
    svg = drawn(tmp_path, row(BASE), *rows)
    assert "tize - -scheme int4 -->" in svg
    assert "tize - -scheme int8 -->" in svg


def test_a_training_of_another_model_does_not_crowd_the_legend(tmp_path: Path) -> None:
    svg = drawn(tmp_path, row(BASE), row(bits(8000), label="train --width 0.5", model=digest("x")))
    assert "<!-- baseline -->" in svg
