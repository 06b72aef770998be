"""Tables: numbers in full precision, display strings, and the compact console table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from compress.report import columns, seeds, tables
from compress.report.compare import MEASURED
from compress.report.references import read_references
from compress.rows.field_check import LARGEST
from compress.rows.result import Result
from support.report_rows import PUBLISHED, bits, digest, example, flipped, pruned, row

BASE = bits(9000)


def shown(*rows: object) -> list[dict[str, str]]:
    return tables.display(tables.comparison(rows, [])).to_dict("records")  # type: ignore[arg-type]


def test_no_rows_is_an_error_that_names_a_command_to_run() -> None:
    with pytest.raises(ValueError, match=r"no rows to report yet: `compress run prune"):
        tables.comparison([], [PUBLISHED])


def test_rows_are_ordered_published_figures_then_baseline_then_compressed_models() -> None:
    table = tables.comparison([pruned(BASE), row(BASE)], [PUBLISHED])
    assert list(table.kind) == ["reference", "reference", "baseline", "compressed"]
    assert list(table.split) == ["validation", "test", "test", "test"]
    assert list(table.params) == [118_258] * 4
    assert list(table.columns) == list(tables.FIELDS)


def test_numbers_keep_full_precision_and_fractions_stay_fractions() -> None:
    made = pruned(bits(8766, 9999), cross_entropy=1 / 3)
    (record,) = tables.records(tables.comparison([made], []))
    assert record["top1"] == made.top1 == 8766 / 9999
    assert record["cross_entropy"] == 1 / 3
    assert record["gzip_bytes"] == made.gzip_bytes
    assert record["run"] == made.run


def test_the_largest_number_that_a_row_may_have_stays_exact_beside_missing_values() -> None:
    made = [row(BASE, macs=LARGEST, seed=LARGEST), pruned(flipped(BASE, 60, 50), seed=2**53 + 1)]
    _, _, base, compressed = tables.records(tables.comparison(made, [PUBLISHED]))
    assert (base["macs"], base["seed"], compressed["seed"]) == (LARGEST, LARGEST, 2**53 + 1)


def test_every_measured_number_is_in_the_table() -> None:
    """A new measured field must appear in the table without a change to the table's code."""
    assert {"top1", "macs", "gzip_bytes", "sparsity"} <= MEASURED.keys() <= tables.FIELDS.keys()
    assert not {"kernel_sparsity", "weight_types", "correct", "measured_on"} & MEASURED.keys()
    (record,) = tables.records(tables.comparison([row(BASE)], []))
    assert {name: record[name] for name in MEASURED} == {
        name: getattr(row(BASE), name) for name in MEASURED
    }


def test_display_shows_points_intervals_and_sizes() -> None:
    base, made = shown(row(BASE), pruned(flipped(BASE, 400, 100), 0.9))
    assert base["Top-1, %"] == "90.00 (89.40 to 90.57)"
    assert base["From baseline, points"] == ""
    assert made["From baseline, points"].startswith("-3.00 (-3.4")
    assert "distinguishable" not in made["From baseline, points"]
    assert made["Parameters"] == "118,258"
    assert made["Sparsity"] == "90.0 %"
    assert made["gzip"] == "88.0 KB (20.0 %)"
    assert made["MACs"] == "18,432,000"
    assert made["Peak memory"] == "1.20 GB"
    assert made["Cross-entropy from baseline"] == "+0.0200"
    assert made["Run"] == pruned(flipped(BASE, 400, 100), 0.9).run[:12]


def test_an_insignificant_difference_is_marked_not_distinguishable() -> None:
    _, made = shown(row(BASE), pruned(flipped(BASE, 60, 50)))
    assert made["From baseline, points"] == "-0.10 (-0.31 to +0.12), not distinguishable"
    assert made["Same within, points"] == "0.28"
    assert float(made["p"]) >= 0.05


def test_distinguishable_is_decided_by_the_adjusted_p() -> None:
    """A difference that is significant alone is not significant among many comparisons."""
    near = pruned(flipped(BASE, 80, 54, 1))
    alone = tables.records(tables.comparison([row(BASE), near], []))[1]
    others = [pruned(flipped(BASE, 60, 60, s), seed=s) for s in range(1, 6)]
    among = tables.records(tables.comparison([row(BASE), near, *others], []))
    (again,) = [r for r in among if r["run"] == near.run]
    assert columns.distinguishable(alone)
    assert again["p"] == alone["p"]
    assert not columns.distinguishable(again)


def test_a_row_without_baseline_shows_a_remark() -> None:
    (made,) = shown(pruned(BASE))
    assert made["From baseline, points"] == "no baseline among the rows"
    assert made["gzip"] == "264.0 KB"
    assert made["p"] == ""


def test_a_tflite_file_without_keras_model_has_no_parameter_count() -> None:
    (made,) = shown(pruned(BASE, params=None))
    assert made["Parameters"] == ""


def test_every_cell_of_a_display_is_a_string_and_every_column_is_explained() -> None:
    display = tables.display(tables.comparison(example(), [PUBLISHED]))
    assert all(isinstance(cell, str) for cell in display.to_numpy().ravel())
    assert list(display.columns) == [c.heading for c in columns.ALL]
    assert len({c.heading for c in columns.ALL}) == len(columns.ALL)
    assert all(c.note.endswith(".") and len(c.note.split()) > 7 for c in columns.ALL)


def test_seeds_are_shown_with_mean_and_deviation() -> None:
    rows = [row(bits(90, 100)), *(pruned(bits(r, 100), seed=s) for s, r in enumerate((88, 92)))]
    table = tables.over_seeds(tables.comparison(rows, [PUBLISHED]))
    (joined,) = tables.records(table)
    said = seeds.sentence(joined)
    assert "over 2 seeds (0 1)" in said
    assert "top-1 90.00 \N{PLUS-MINUS SIGN} 2.83 %" in said
    assert "+0.00 \N{PLUS-MINUS SIGN} 2.83 points from baseline" in said
    assert "within 82.56 to 94.48 %" in said
    assert joined["gzip_bytes_sd"] == 0


def test_without_several_seeds_the_table_over_seeds_is_empty() -> None:
    table = tables.over_seeds(tables.comparison([row(BASE)], []))
    assert list(table.columns) == list(tables.SPREAD_FIELDS)
    assert len(table) == 0


def compact(rows: Sequence[Result], references: Sequence[Path]) -> list[dict[str, str]]:
    return tables.compact(tables.compared_records(rows, read_references(references)))


def test_compact_fits_100_columns_and_has_a_heading_for_each_data_set() -> None:
    lines = compact(example(), [PUBLISHED])
    wide = [
        max(len(text) for text in [heading, *(r[heading] for r in lines)]) for heading in lines[0]
    ]
    assert sum(wide) + 2 * (len(wide) - 1) <= 100
    heads = [r["model"] for r in lines if not r["model"].startswith(" ")]
    assert heads == ["published, cifar10", "cifar10, 10,000 images", "cifar10-sample, 1,000 images"]


def test_compact_says_not_distinguishable_instead_of_a_number() -> None:
    rows = [row(BASE), pruned(flipped(BASE, 60, 50)), pruned(flipped(BASE, 400, 100), 0.9)]
    lines = compact(rows, [])
    assert [r["from baseline"] for r in lines][1:] == [
        "", "not distinguishable", "-3.00 (-3.5 to -2.5)",
    ]  # fmt: skip
    assert [r["gzip"] for r in lines][1:] == ["440.0 KB", "264.0 KB", "88.0 KB"]


def test_compact_shows_no_control_characters() -> None:
    hostile = pruned(BASE, label="a\x1b[2Jb\nc\u202ed", model=digest("x"))
    for line in compact([hostile], []):
        assert all(cell.isprintable() for cell in line.values())
