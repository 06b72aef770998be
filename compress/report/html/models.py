"""Tables on one model from its rows and predictions: its layers, bytes, classes and calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compress.report import columns, text
from compress.report.behaviour import Behaviour
from compress.report.compare import Record
from compress.rows.result import Result

MOST_LINES = 100  # of a table, such as the one of classes
Table = dict[str, Any]


def about(
    r: Record,
    row: Result,
    rows: Sequence[Result],
    found: Mapping[tuple[str, str], Behaviour],
    anchor: str,
) -> dict[str, Any]:
    """The tables on a model, its training curve, and which data are missing.

    Each line of a table has a name, a formatted number, and the length of its bar, from 0 to 100.

    Args:
      rows: all rows, including those of earlier stages of the model.
    """
    trained = _last_trained(row, rows)
    behaviour = found.get((r["run"], r["split_digest"]))
    tables = [_layers(row), _bytes(row), _types(row)]
    tables += [_classes(behaviour), _calibration(behaviour)] if behaviour else []
    missing = [] if row.file_parts else ["the ledger of the file"]
    missing += [] if trained.curve or not _trains(trained) else ["the curve of its training"]
    missing += [] if behaviour else ["predictions, and so classes and calibration"]
    return {
        "name": columns.name(r),
        "to": anchor,
        "curve": _curve(trained.curve) | {"of": trained.label} if trained.curve else None,
        "tables": [t for t in tables if t and t["lines"]],
        "missing": " and ".join(missing),
    }


def _last_trained(row: Result, rows: Sequence[Result]) -> Result:
    """The row of the last stage of a model that trained; `row` if there is no such row."""
    earlier = [
        r for r in (*rows, row)
        if (r.model, r.seed, r.splits["train"]) == (row.model, row.seed, row.splits["train"])
        and r.pipeline == row.pipeline[: len(r.pipeline)] and _trains(r) and (r.pipeline or not row.pipeline)
    ]  # fmt: skip
    return max(earlier, key=lambda r: (len(r.pipeline), r.curve is not None), default=row)


def _trains(row: Result) -> bool:
    last = row.pipeline[-1] if row.pipeline else {}
    return bool(row.curve or last.get("epochs")) or row.label.startswith("train ")


def _curve(accuracies: Sequence[float]) -> dict[str, str]:
    """A training curve in words, and as points in a box of 100 by 100, from the lowest accuracy to the highest."""
    last, low = len(accuracies) - 1, min(accuracies)
    height = max(accuracies) - low or 1.0
    points = [
        f"{100 * i / last if last else 50:.1f},{100 * (1 - (a - low) / height):.1f}"
        for i, a in enumerate(accuracies)
    ]
    best = max(range(len(accuracies)), key=lambda i: accuracies[i])
    told = (
        f"{text.points(accuracies[0])} % after the first of {text.count(len(accuracies))} epochs, "
    )
    told += f"{text.points(accuracies[-1])} % after the last; "
    told += f"best {text.points(accuracies[best])} % after epoch {best + 1}"
    return {"points": " ".join(points), "told": told}


def _layers(row: Result) -> Table:
    lines = [
        (name, text.percent(sparsity), 100 * sparsity)
        for name, sparsity in sorted(row.kernel_sparsity.items())
    ]
    return _table("Zeros by layer", ("Kernel", "Zeros"), lines)


def _bytes(row: Result) -> Table:
    parts = (row.file_parts or {}).items()
    lines = [(k, text.count(v), 100 * v / row.file_bytes) for k, v in sorted(parts)]
    coded = {"xz": "the file after xz", "entropy": "weights and biases, coded at best"}
    for key, size in sorted((row.coded_bytes or {}).items()):
        lines.append((coded.get(key, key), text.count(size), 100 * size / row.file_bytes))
    return _table("Where the bytes are", ("Part", "Bytes"), lines)


def _types(row: Result) -> Table:
    kinds = sorted(row.weight_types.items())
    lines = [(k, text.count(v), 100 * v / max(1, row.stored_params)) for k, v in kinds]
    return _table("Stored numbers by type", ("Type", "Numbers"), lines)


def _classes(behaviour: Behaviour) -> Table:
    changes = sorted((behaviour.class_changes or {}).items(), key=lambda item: (item[1], item[0]))
    most = max((abs(change) for _, change in changes), default=0) or 1
    lines = [(name, text.points(change, "+"), 100 * abs(change) / most) for name, change in changes]
    return _table("Change by class, worst first", ("Class", "Points"), lines)


def _calibration(behaviour: Behaviour) -> Table:
    lines = [
        (
            f"{100 * each.confidence:.1f} %",
            f"{100 * each.accuracy:.1f} % of {each.images:,}",
            100 * each.accuracy,
        )
        for each in behaviour.curve
    ]
    error = f"Calibration, ECE {text.points(behaviour.ece)} %"
    return _table(error, ("Sure, on the mean", "Right"), lines)


def _table(heading: str, names: tuple[str, str], lines: list[tuple[str, str, float]]) -> Table:
    return {
        "heading": heading,
        "names": names,
        "lines": [
            {"name": name, "shown": shown, "bar": round(min(100.0, bar), 1)}
            for name, shown, bar in lines[:MOST_LINES]
        ],
        "more": max(0, len(lines) - MOST_LINES),
    }
