"""Changes that accuracy hides, from the predictions for all images: classes, confusions and calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from compress.report.compare import Record, sections
from compress.rows.result import Result
from compress.statistics.calibration import Bin, expected_error, reliability


class Predictions(Protocol):
    """The predictions of a model for n images, in the order of their split."""

    @property
    def labels(self) -> np.ndarray:
        """The right classes, whole numbers [n]."""

    @property
    def classes(self) -> np.ndarray:
        """The most likely classes, whole numbers [n]."""

    @property
    def probabilities(self) -> np.ndarray:
        """The probabilities of the most likely classes, float [n]."""


# Digest of predictions -> function that reads them.
Readers = Mapping[str, Callable[[], Predictions]]


@dataclass(frozen=True)
class Behaviour:
    """The behavior of a model on the images of a split; changes are from its baseline, None without one."""

    curve: list[Bin]
    ece: float
    class_changes: dict[str, float] | None = None  # class -> change of its accuracy
    confusion: str | None = None  # the pair of classes confused more often than before

    @property
    def worst_class(self) -> str | None:
        """The class whose accuracy fell most; None if none fell."""
        losses = {k: v for k, v in (self.class_changes or {}).items() if v < 0}
        return min(losses, key=losses.__getitem__, default=None)

    def fields(self) -> Record:
        """The fields that the behavior adds to a record of the comparison."""
        worst = self.worst_class
        change = self.class_changes[worst] if self.class_changes and worst is not None else None
        return {
            "ece": self.ece,
            "worst_class": worst,
            "worst_class_change": change,
            "confusion": self.confusion,
        }


def behaviours(rows: Sequence[Result], readers: Readers) -> dict[tuple[str, str], Behaviour]:
    """(Run digest, split digest) -> behavior, for each row whose predictions can be read."""
    found = {}
    for held in sections(rows).values():
        last: tuple[str | None, Predictions | None] = (None, None)  # of the baseline, read once
        for row, baseline in held:
            said = _read(row, readers)
            if said is None:
                continue
            before = None
            if baseline and row.pipeline:
                if baseline.predictions != last[0]:
                    last = (baseline.predictions, _read(baseline, readers))
                before = last[1]
            found[row.run, row.splits[row.measured_on]] = behaviour(said, before, row.classes)
    return found


def behaviour(
    said: Predictions, before: Predictions | None, names: Sequence[str] | None
) -> Behaviour:
    """The behavior of a model, with changes if its baseline has predictions for the same images."""
    right = said.classes == said.labels
    curve = reliability(right, said.probabilities)
    error = expected_error(curve)
    if before is None or not np.array_equal(before.labels, said.labels):
        return Behaviour(curve, error)
    was_right = before.classes == before.labels
    changes = {
        _name(label, names): float(right[of].mean() - was_right[of].mean())
        for label in np.unique(said.labels).tolist()
        for of in [said.labels == label]
    }
    return Behaviour(curve, error, changes, _new_confusion(said, before, names))


def _new_confusion(
    said: Predictions, before: Predictions, names: Sequence[str] | None
) -> str | None:
    """The class and the wrong answer whose count grew most, in words; None if no count grew."""
    classes = 1 + int(max(said.labels.max(), said.classes.max(), before.classes.max()))
    pairs = [s.labels.astype(np.int64) * classes + s.classes for s in (said, before)]
    kinds, index = np.unique(np.concatenate(pairs), return_inverse=True)
    now, was = (np.bincount(half, minlength=len(kinds)) for half in np.split(index, 2))
    grown = np.where(kinds // classes == kinds % classes, 0, now - was)
    most = int(grown.argmax())
    if grown[most] <= 0:
        return None
    label, answer = divmod(int(kinds[most]), classes)
    return f"{_name(label, names)} taken for {_name(answer, names)}: {was[most]} to {now[most]}"


def _name(label: int, names: Sequence[str] | None) -> str:
    return names[label] if names and label < len(names) else f"class {label}"


def _read(row: Result, readers: Readers) -> Predictions | None:
    reader = readers.get(row.predictions or "")
    return reader() if reader else None
