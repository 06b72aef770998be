"""A foreign model has its own section with its name; published figures apply only to their own network."""

from __future__ import annotations

from pathlib import Path

from compress.report import comparison_page, front_plot, pages, tables
from compress.report.compare import figures_beside, row_records
from compress.report.references import read_references
from compress.report.seeds import spread
from compress.rows.result import Result
from support.report_rows import PUBLISHED, bits, digest, flipped, pruned, row

FIGURES = read_references([PUBLISHED])
BASE = bits(9000)


def of_file(name: str, right: int = 8000, params: int = 18_000) -> list[Result]:
    """The rows of a model in a file of that name and of a pruned version of it."""
    correct = bits(right, seed=right)
    fields = {"model": digest(name), "model_file": name, "params": params}
    return [row(correct, **fields), pruned(flipped(correct, 50, 10, 1), **fields)]


def page(rows: list[Result]) -> str:
    return comparison_page.comparison_page(
        tables.compared(rows, FIGURES), figures_beside(rows, FIGURES)
    )


def heads(rows: list[Result]) -> list[str]:
    return [
        line for line in page(rows).splitlines() if line.startswith("## ") and "easured on" in line
    ]


def test_two_foreign_models_on_one_data_set_have_sections_with_their_names() -> None:
    rows = [*of_file("one.keras"), row(BASE), pruned(flipped(BASE, 60, 50)), *of_file("two.keras")]
    assert heads(rows) == [
        "## Measured on cifar10: 10,000 test images",
        f"## one.keras ({digest('one.keras')[:12]}): measured on cifar10: 10,000 test images",
        f"## two.keras ({digest('two.keras')[:12]}): measured on cifar10: 10,000 test images",
    ]
    lines = [line["model"] for line in tables.compact(tables.compared_records(rows, FIGURES))]
    assert f"one.keras ({digest('one.keras')[:12]}): cifar10, 10,000 images" in lines
    # p values are adjusted within a section: here each has one test.
    tested = [r for r in row_records(rows, []) if r["p"] is not None]
    assert [r["p"] for r in tested] == [r["p_adjusted"] for r in tested]


def test_a_model_trained_by_a_row_is_not_a_foreign_model() -> None:
    trained = row(BASE, label="train --recipe strong", model=digest("trained"))
    again = row(BASE, model=digest("trained"), model_file="train-1/model.keras")
    assert heads([trained, again]) == ["## Measured on cifar10: 10,000 test images"]


def test_published_figures_are_shown_only_beside_their_own_network() -> None:
    own, others = [row(BASE)], of_file("one.keras")
    held = {
        r["foreign_model"]: "from_published_test" in r
        for r in row_records([*own, *others], FIGURES)
    }
    assert held == {"": True, f"one.keras ({digest('one.keras')[:12]})": False}
    assert figures_beside(others, FIGURES) == []
    assert "Published figures of" not in page(others)
    assert "published" not in str(tables.compact(tables.compared_records(others, FIGURES)))
    assert "The published figures are of another network" in page([*own, *others])
    # The same network in a foreign file is compared with them; another network trained here is not.
    assert figures_beside(of_file("same.keras", params=118_258), FIGURES) == FIGURES
    narrow = row(
        BASE, label="train --recipe strong --width 0.5", params=30_274, model=digest("narrow")
    )
    assert figures_beside([narrow], FIGURES) == []


def test_a_picture_of_a_foreign_model_has_no_published_lines(tmp_path: Path) -> None:
    rows = of_file("one.keras")
    front_plot.accuracy_against_bytes(tables.compared(rows, FIGURES), FIGURES, tmp_path)
    drawn = (tmp_path / "accuracy_against_bytes.svg").read_text()
    assert "published" not in drawn
    pages.write_report(rows, [PUBLISHED], tmp_path)
    assert "one.keras" in (tmp_path / "comparison.csv").read_text()


def test_rows_of_two_foreign_models_are_not_joined_over_seeds() -> None:
    rows = [*of_file("one.keras"), *of_file("two.keras")]
    assert spread(row_records(rows, [])) == []


def test_a_row_without_a_model_file_is_written_without_the_field() -> None:
    record = row(BASE).record()
    assert "model_file" not in record
    assert Result.from_record(record).model_file is None
    named = of_file("one.keras")[0].record()
    assert Result.from_record(named).model_file == "one.keras"
