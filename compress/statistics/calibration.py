"""Calibration: the difference between the probabilities that a model gives and how often it is right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 15


@dataclass(frozen=True)
class Bin:
    """One bin of the reliability curve: the images whose highest probability lies in it."""

    upto: float  # the upper border, included
    images: int
    confidence: float  # mean probability of the most likely class
    accuracy: float


def reliability(correct: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> list[Bin]:
    """The reliability curve: bins of equal width, from low probability to high, without empty bins.

    A probability on the border of two bins belongs to the lower one, as in Guo et al. 2017.

    Args:
      correct: bool [n].
      probabilities: float [n] in [0, 1], of the most likely class.
    """
    given = np.asarray(probabilities, np.float64)
    index = np.clip(np.ceil(given * bins) - 1, 0, bins - 1).astype(int)
    counts = np.bincount(index, minlength=bins)
    sums = np.bincount(index, given, bins), np.bincount(index, correct, bins)
    return [
        Bin((i + 1) / bins, int(n), float(given_sum / n), float(right / n))
        for i, (n, given_sum, right) in enumerate(zip(counts, *sums, strict=True))
        if n
    ]


def expected_error(curve: list[Bin]) -> float:
    """The expected calibration error (ECE): the mean of |confidence - accuracy| over bins, weighted by images.

    Naeini, Cooper and Hauskrecht 2015 (AAAI 29, 2901-2907); Guo, Pleiss, Sun and Weinberger 2017
    (https://arxiv.org/abs/1706.04599).

    >>> right, given = np.array([True, True, False, False]), np.array([0.9, 0.9, 0.9, 0.6])
    >>> round(expected_error(reliability(right, given, bins=5)), 4)  # 3/4 of |0.9 - 2/3|, 1/4 of |0.6 - 0|
    0.325
    """
    weighed = (each.images * abs(each.confidence - each.accuracy) for each in curve)
    return sum(weighed) / sum(each.images for each in curve)
