"""Check if the validation and test accuracy of a model agree: a model that fails has seen one of the two splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compress.report import text
from compress.report.references import PublishedFigure, accuracies
from compress.rows.result import Result
from compress.statistics.significance import (
    SIGNIFICANCE,
    two_proportion_difference,
    two_proportion_p,
    two_proportion_z,
)


def of_rows(rows: Sequence[Result]) -> list[dict[str, Any]]:
    """The check of each run that was measured on validation and on test images; its last rows count."""
    counts: dict[tuple[str, str], dict[str, tuple[int, int]]] = {}
    labels = {}
    for row in rows:
        key = (row.run, row.splits["train"])
        right = (round(row.top1 * row.test_images), row.test_images)
        counts.setdefault(key, {})[row.measured_on] = right
        labels[key] = f"{row.label}, run {text.short(row.run)}"
    both = {key: splits for key, splits in counts.items() if len(splits) == 2}
    return [_checked(labels[key], **splits) for key, splits in both.items()]


def of_published(figures: Sequence[PublishedFigure], data: str) -> list[dict[str, Any]]:
    """The check of each published model with both accuracies on that data."""
    counts: dict[str, dict[str, tuple[int, int]]] = {}
    for figure in accuracies(figures, data):
        counts.setdefault(figure.name, {})[figure.split] = (figure.successes, figure.images or 0)
    return [
        _checked(f"{name}, published", splits["validation"], splits["test"])
        for name, splits in counts.items()
        if {"validation", "test"} <= splits.keys()
    ]


def sentence(line: dict[str, Any]) -> str:
    """One result of the check, in words."""
    measured = (
        f"{text.points(line['validation'])} % against {text.points(line['test'])} %, "
        f"{text.with_interval(line['difference'], line['low'], line['high'], '+')} points, "
        f"{abs(line['z']):.1f} standard errors, p = {text.p_value(line['p'])}"
    )
    return f"{line['model']}: {'consistent' if line['consistent'] else 'fails'}; {measured}."


def _checked(name: str, validation: tuple[int, int], test: tuple[int, int]) -> dict[str, Any]:
    difference, low, high = two_proportion_difference(*validation, *test)
    p = two_proportion_p(*validation, *test)
    return {
        "model": name,
        "validation": validation[0] / validation[1],
        "test": test[0] / test[1],
        "difference": difference,
        "low": low,
        "high": high,
        "z": two_proportion_z(*validation, *test),
        "p": p,
        "consistent": p >= SIGNIFICANCE,
    }
