"""A check that an accuracy is better than guessing, and the sentence about an accuracy that is not."""

from __future__ import annotations

import numpy as np

from compress.data.dataset import Dataset
from compress.rows.measurement import Measurement
from compress.rows.result import Result

RECORDED = "chance_level"  # the field of a row with the accuracy of guessing, if the row's own accuracy is no better
# An accuracy that is clearly above chance has covered this fraction of the distance from guessing to no errors.
CLEARLY = 0.1


def share(labels: np.ndarray, classes: int) -> float:
    """The accuracy of guessing, in [0, 1]: the share of the largest class, at least 1 / classes.

    >>> share(np.array([0, 1, 1, 2]), 3), share(np.array([0, 1, 2]), 3) == 1 / 3
    (0.5, True)
    """
    return max(1 / classes, float(np.bincount(labels).max()) / len(labels))


def clearly_above(guessing: float) -> float:
    """The number that the low end of an accuracy's interval must exceed to be clearly better than guessing.

    >>> round(clearly_above(0.1), 2), round(clearly_above(0.5), 2)
    (0.19, 0.55)
    """
    return guessing + CLEARLY * (1 - guessing)


def level(measured: Measurement, data: Dataset) -> float | None:
    """The accuracy of guessing, if the measured accuracy's interval includes it or lies below it; otherwise None.

    The largest class is that of the validation images, so that no test label is read.
    """
    guessing = share(data.validation.labels, len(data.classes))
    return None if measured.top1_low > guessing else guessing


def sentence(measured: Measurement | Result, guessing: float) -> str:
    """The sentence about a model whose accuracy is no better than that of guessing."""
    found = f"{measured.top1:.2%} of {measured.test_images:,} {measured.measured_on} images"
    return said(found, (measured.top1_low, measured.top1_high), guessing)


def said(found: str, interval: tuple[float, float], guessing: float) -> str:
    """The same sentence for `found`, an accuracy and its images in words, and the accuracy's interval."""
    low, high = interval
    return (
        f"chance level: top-1 {found} ({low:.2%} to {high:.2%}) is no better than guessing, {guessing:.2%}: check the "
        "scale of pixels (--input-scale), the order of channels (RGB or BGR), the order of classes, and the data."
    )


def sentence_of(row: Result) -> str | None:
    """The sentence for a row that records a level of chance; None if it records none."""
    guessing = row.recorded.get(RECORDED)
    return sentence(row, guessing) if isinstance(guessing, float) else None
