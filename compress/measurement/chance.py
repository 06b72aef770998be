"""Whether an accuracy is better than guessing, and what to say of a baseline whose accuracy is not."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from compress.data.dataset import Dataset
from compress.rows.measurement import Measurement

BEGINS = "chance level: "  # of every sentence that `at_chance` gives
CLEARLY = 0.1  # of the way from guessing to no errors, which an accuracy that is clearly above chance has gone


def share(labels: np.ndarray, classes: int) -> float:
    """The accuracy of guessing, in [0, 1]: the share of the largest class, at least 1 / classes.

    >>> share(np.array([0, 1, 1, 2]), 3), share(np.array([0, 1, 2]), 3) == 1 / 3
    (0.5, True)
    """
    return max(1 / classes, float(np.bincount(labels).max()) / len(labels))


def clearly_above(guessing: float) -> float:
    """What the low end of an accuracy's interval must reach to be clearly better than guessing.

    >>> round(clearly_above(0.1), 2), round(clearly_above(0.5), 2)
    (0.19, 0.55)
    """
    return guessing + CLEARLY * (1 - guessing)


def at_chance(measured: Measurement, data: Dataset) -> str | None:
    """A sentence for the user and the row if the accuracy's interval includes that of guessing, or lies below it.

    The largest class is that of the validation images, so that no test label is looked at.
    """
    guessing = share(data.validation.labels, len(data.classes))
    if measured.top1_low > guessing:
        return None
    return (
        f"{BEGINS}top-1 {measured.top1:.2%} of {measured.test_images:,} {measured.measured_on} images "
        f"({measured.top1_low:.2%} to {measured.top1_high:.2%}) is no better than guessing, {guessing:.2%}: check the "
        "scale of pixels (--input-scale), the order of channels (RGB or BGR), the order of classes, and the data."
    )


def said_in(notes: Iterable[str]) -> list[str]:
    """The sentences of `at_chance` among the notes of a row."""
    return [note for note in notes if note.startswith(BEGINS)]
