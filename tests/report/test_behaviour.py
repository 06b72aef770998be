"""Changes that accuracy hides: classes, confusions and calibration, from the predictions for every image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compress import api
from compress.measurement.predictions import Predictions, file_beside
from compress.report import tables
from compress.report.behaviour import behaviour, behaviours
from compress.rows.jsonl import append_to
from compress.rows.result import Result
from support.report_rows import pruned, row

NAMES = ["cat", "dog", "fox"]
LABELS = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
BEFORE = [0, 0, 0, 1, 1, 1, 1, 0, 2, 2]
AFTER = [0, 1, 1, 1, 1, 1, 1, 1, 2, 2]  # two more cats are taken for dogs, one more dog is correct


def said(classes: list[int], probability: float = 0.75) -> Predictions:
    return Predictions(
        np.array(LABELS, "<u1"), np.array(classes, "<u1"), np.full(len(classes), probability, "<f2")
    )


def with_predictions(made: Callable[..., Result], classes: list[int], **fields: object) -> Result:
    of = said(classes)
    right = of.classes == of.labels
    return made(right, predictions=of.digest, classes=NAMES, **fields)


def both() -> tuple[list[Result], dict[str, Callable[[], Predictions]]]:
    rows = [with_predictions(row, BEFORE), with_predictions(pruned, AFTER)]
    readers = {said(c).digest: lambda c=c: said(c) for c in (BEFORE, AFTER)}
    return rows, readers


def test_the_worst_class_is_named_with_its_change() -> None:
    found = behaviour(said(AFTER), said(BEFORE), NAMES)
    assert found.class_changes == {"cat": -0.5, "dog": 0.25, "fox": 0.0}
    assert found.worst_class == "cat"
    assert behaviour(said(AFTER), said(BEFORE), None).worst_class == "class 0"


def test_there_is_no_worst_class_if_no_class_lost_accuracy() -> None:
    assert behaviour(said(LABELS), said(BEFORE), NAMES).worst_class is None


def test_the_confusion_that_grew_most_is_named() -> None:
    assert behaviour(said(AFTER), said(BEFORE), NAMES).confusion == "cat taken for dog: 1 to 3"
    assert behaviour(said(BEFORE), said(BEFORE), NAMES).confusion is None


def test_calibration_is_computed_without_the_baseline() -> None:
    found = behaviour(said(AFTER), None, NAMES)
    (one,) = found.curve
    assert (one.images, one.accuracy) == (10, 0.7)
    assert found.ece == pytest.approx(0.05)
    assert found.class_changes is None


def test_predictions_with_other_labels_are_not_compared() -> None:
    other = dataclasses.replace(said(BEFORE), labels=np.array(LABELS[::-1], "<u1"))
    assert behaviour(said(AFTER), other, NAMES).class_changes is None


def test_rows_without_predictions_are_left_out() -> None:
    rows, readers = both()
    assert len(behaviours(rows, readers)) == 2
    assert behaviours(rows, {}) == {}
    (alone,) = behaviours(
        rows, {rows[1].predictions or "": readers[rows[1].predictions or ""]}
    ).values()
    assert alone.class_changes is None  # the predictions of the baseline are missing


def test_the_csv_has_the_worst_class_and_the_images_won_and_lost() -> None:
    rows, readers = both()
    record = tables.records(tables.compared(rows, [], behaviours(rows, readers)))[1]
    assert (record["worst_class"], record["worst_class_change"]) == ("cat", -0.5)
    assert (record["won"], record["lost"]) == (1, 2)


def test_pages_are_rebuilt_when_predictions_appear_beside_the_rows(
    tmp_path: Path,
) -> None:
    results = tmp_path / "results.jsonl"
    for made in both()[0]:
        append_to(results, made)
    api.write_pages(results, tmp_path)
    assert "cat taken for dog" not in (tmp_path / "comparison.csv").read_text()
    for made, classes in zip(both()[0], (BEFORE, AFTER), strict=True):
        path = file_beside(results, made)
        assert path is not None
        path.parent.mkdir(exist_ok=True)
        said(classes).write(path)
    api.write_pages(results, tmp_path, unless_current=True)
    assert "cat taken for dog: 1 to 3" in (tmp_path / "comparison.csv").read_text()


def test_predictions_of_another_row_are_refused_in_a_sentence(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    made = both()[0][0]
    append_to(results, made)
    path = file_beside(results, made)
    assert path is not None
    path.parent.mkdir()
    said(AFTER).write(path)
    with pytest.raises(ValueError, match="not the predictions of run"):
        api.write_pages(results, tmp_path)
