"""Select the rows that count for a target of targets.toml."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compress.rows.result import Result


def best_row(target: dict[str, Any], rows: Sequence[Result]) -> Result | None:
    """The most accurate row that is within the limits of a target; the smallest if several are equally accurate."""
    within = [row for row in rows if is_within(row, target)]
    return max(within, key=lambda row: (row.top1, -row.file_bytes), default=None)


def is_within(row: Result, target: dict[str, Any]) -> bool:
    """True if a row is within the limits of a target."""
    return (
        row.file_bytes <= target.get("max_bytes", row.file_bytes)
        and row.label.startswith(target.get("label_begins", ""))
        and row.stored_params == target.get("stored_params", row.stored_params)
        and target.get("weights", next(iter(row.weight_types))) in row.weight_types
    )


def few_macs(target: dict[str, Any], rows: Sequence[Result]) -> Sequence[Result]:
    """The rows with at most `macs_left` times the multiply-accumulates of `over`; all rows without `macs_left`."""
    if "macs_left" not in target:
        return rows
    whole = next((row.macs for row in rows if row.label == target["over"]), 0)
    return [row for row in rows if row.macs <= target["macs_left"] * whole]


def top1_by_seed(label: str, rows: Sequence[Result]) -> dict[int, float]:
    """Seed -> top-1 of the rows with a label. "baseline" is the task's: rows of other models have a file name."""
    named = [row for row in rows if row.label == label]
    return {row.seed: row.top1 for row in named if label != "baseline" or not row.model_file}


def curves_of(missed: dict[str, list[Result]], rows: Sequence[Result]) -> dict[str, list[float]]:
    """Label -> accuracy on validation images after each epoch of the last training that led to a row, if it was kept.

    Args:
      missed: name -> rows; the names are not used.
      rows: all rows. The label of a row begins with the labels of the trainings that led to it.
    """
    found = {}
    for tried in missed.values():
        for row in tried:
            made_of = [
                r for r in rows if r.curve and row.label.startswith(r.label) and r.seed == row.seed
            ]
            for last in sorted(made_of, key=lambda r: len(r.label))[-1:]:
                found[last.label] = last.curve or []
    return found
