"""Rows on validation and test images are never compared; models trained on more images are marked everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.report import comparison_page, front_plot, tables
from compress.report.compare import NO_BASELINE, Record, row_records
from compress.report.references import read_references
from compress.report.seeds import spread
from compress.rows.result import Result
from support.report_rows import PUBLISHED, bits, digest, flipped, pruned, row

BASE = bits(9000)
CHOSEN = bits(7000, 7500)  # correct validation images
FIGURES = read_references([PUBLISHED])
MORE = "train+validation"


def on_validation(made: Result) -> Result:
    return Result(**{**vars(made), "measured_on": "validation"})


def page(*rows: Result) -> str:
    return comparison_page.comparison_page(tables.compared(rows, FIGURES), FIGURES)


def both() -> list[Result]:
    """A baseline and a pruned model, each measured on test and on validation images."""
    chosen = [row(CHOSEN, run=digest("0")), pruned(flipped(CHOSEN, 90, 20), run=digest("1"))]
    measured = [row(BASE, run=digest("0")), pruned(flipped(BASE, 60, 50), run=digest("1"))]
    return [*map(on_validation, chosen), *measured]


def compressed(*rows: Result) -> list[Record]:
    return [r for r in row_records(rows, []) if r["kind"] == "compressed"]


@pytest.mark.parametrize("swap", [False, True])
def test_a_row_on_test_images_is_not_compared_with_a_row_on_validation_images(swap: bool) -> None:
    """They are not compared even if both splits have the same images."""
    same = {name: digest("the same images") for name in ("train", "validation", "test")}
    base, made = row(BASE, splits=same), pruned(flipped(BASE, 60, 50), splits=same)
    pair = (base, on_validation(made)) if swap else (on_validation(base), made)
    (record,) = compressed(*pair)
    assert record["remark"] == NO_BASELINE
    assert record.get("difference") is None


def test_a_run_on_each_split_is_compared_with_the_baseline_on_that_split() -> None:
    differences = {r["split"]: r["difference"] for r in compressed(*both())}
    assert differences == pytest.approx({"test": -10 / 10_000, "validation": -70 / 7500})


def test_a_row_on_validation_images_is_not_compared_with_published_test_figures() -> None:
    records = row_records(both(), FIGURES)
    held = {r["split"]: {k for k in r if k.startswith("from_published")} for r in records}
    ends = ("", "_low", "_high")
    assert held["validation"] == {f"from_published_validation{end}" for end in ends}
    assert held["test"] == held["validation"] | {f"from_published_test{end}" for end in ends}


def test_p_values_are_adjusted_for_each_split_separately() -> None:
    assert all(r["p_adjusted"] == r["p"] for r in compressed(*both()))


def test_seeds_are_not_joined_across_splits() -> None:
    first, second = (pruned(BASE, seed=s, run=digest(str(s))) for s in (0, 1))
    assert spread(row_records([on_validation(first), second], [])) == []
    assert len(spread(row_records([first, second], []))) == 1


def test_rows_on_validation_images_have_separate_marked_sections() -> None:
    text = page(*both())
    sections = text.split("## Notes")[0].split("## Measured on ")[1:]
    heads = [s.splitlines()[0] for s in sections]
    assert heads == ["cifar10: 10,000 test images", "cifar10: 7,500 validation images"]
    test, validation = sections
    assert "These images had a part in making the models, so no row here is held" in validation
    assert "These images had a part" not in test
    assert "these 7,500 validation images" in validation


def test_a_section_of_validation_images_has_no_published_test_figure() -> None:
    validation = page(*both()).split("## Notes")[0].split("## Measured on ")[2]
    assert "cnn-118k, published, validation" in validation
    assert "cnn-118k, published, test" not in validation


def test_the_console_table_marks_rows_on_validation_images() -> None:
    shown = [line["model"] for line in tables.compact(tables.compared_records(both(), FIGURES))]
    heads = [name for name in shown if not name.startswith(" ")]
    assert heads == [
        "published, cifar10", "cifar10, 10,000 images", "cifar10 validation, 7,500 images",
    ]  # fmt: skip


def test_pictures_have_a_panel_for_each_split(tmp_path: Path) -> None:
    def drawn(*rows: Result) -> str:
        table = tables.compared(rows, FIGURES)
        return front_plot.accuracy_against_bytes(table, FIGURES, tmp_path)[1].read_text()

    svg = drawn(*both())
    assert "<!-- cifar10: 10,000 test images -->" in svg
    assert "<!-- cifar10: 7,500 validation images -->" in svg
    alone = drawn(*both()[:2])
    assert "published, validation: 92.63 %" in alone
    assert "published, test" not in alone


# The split that models were trained on


def test_models_trained_on_different_splits_are_not_joined_over_seeds() -> None:
    rows = [pruned(BASE, seed=s, run=digest(str(s))) for s in (0, 1)]
    mixed = [rows[0], Result(**{**vars(rows[1]), "trained_on": MORE})]
    assert spread(row_records(mixed, [])) == []
    alike = [Result(**{**vars(r), "trained_on": MORE}) for r in rows]
    (joined,) = spread(row_records(alike, []))
    assert joined["trained_on"] == MORE


def test_models_trained_on_more_images_are_not_compared_with_other_baselines() -> None:
    made = pruned(flipped(BASE, 60, 50), trained_on=MORE)
    (record,) = compressed(row(BASE), made)
    assert record["remark"] == NO_BASELINE
    assert record.get("difference") is None


def test_a_model_made_from_one_trained_on_more_images_is_marked_too() -> None:
    base = row(BASE, trained_on=MORE, label="train --recipe strong", file_bytes=450_111)
    made = pruned(flipped(BASE, 60, 50))
    (record,) = compressed(base, made)
    assert record["trained_on"] == MORE
    assert record["file_ratio"] == made.file_bytes / 450_111


def test_p_values_of_models_trained_on_more_images_are_adjusted_separately() -> None:
    other = {"model": digest("more"), "trained_on": MORE}
    records = compressed(
        row(BASE), pruned(flipped(BASE, 60, 50)),
        row(BASE, **other), pruned(flipped(BASE, 60, 50), **other),
    )  # fmt: skip
    assert [r["trained_on"] for r in records] == ["train", MORE]
    assert all(r["p"] == r["p_adjusted"] for r in records)


def test_models_trained_on_more_images_have_a_separate_marked_section(tmp_path: Path) -> None:
    made = pruned(flipped(BASE, 400, 100), trained_on=MORE)
    table = tables.compared([row(BASE), made], [])
    marked = f"prune --sparsity 0.5, trained on {MORE}"
    assert tables.display(table).to_dict("records")[1]["Model"] == marked
    lines = tables.compact(tables.compared_records([row(BASE), made], []))
    assert [line["model"] for line in lines] == [
        "cifar10, 10,000 images", "  baseline", f"cifar10, 10,000 images, trained on {MORE}",
        f"  {marked}",
    ]  # fmt: skip
    text = page(row(BASE), made)
    assert f"## Measured on cifar10: 10,000 test images, trained on {MORE}\n" in text
    assert text.count(f"| {marked} |") == 1
    svg = front_plot.accuracy_against_bytes(table, [], tmp_path)[1].read_text()
    assert f"10,000 test images, trained on {MORE}" in svg


def test_a_row_trained_on_the_training_images_only_is_not_marked() -> None:
    assert "trained on train" not in page(row(BASE), pruned(flipped(BASE, 400, 100)))
