"""Compare two models on the same images: the exact McNemar test, its interval, and the equivalence margin.

Only the standard library and numpy are used; `significance` says why. The tests compare each function with scipy or
statsmodels.
"""

from __future__ import annotations

import bisect
import math
import statistics
from collections.abc import Sequence

import numpy as np

from compress.statistics.significance import SIGNIFICANCE, beta_below, clopper_pearson, holm


def discordant(correct_a: np.ndarray, correct_b: np.ndarray) -> tuple[int, int]:
    """The number of images that only `a` gets right, and that only `b` does; both are bool [n], image by image."""
    a, b = np.asarray(correct_a, bool), np.asarray(correct_b, bool)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(
            f"a paired test needs the same images for both models, at least one; "
            f"got arrays of shape {a.shape} and {b.shape}."
        )
    return int((a & ~b).sum()), int((b & ~a).sum())


def mcnemar_p(only_a: int, only_b: int) -> float:
    """The two-sided p of the exact McNemar test; the null hypothesis is that two models are right equally often.

    McNemar 1947 (Psychometrika 12, 153-157), with the binomial distribution in place of chi-square. Only images that
    exactly one model gets right count. If the models are equally good, each such image is the toss of a fair coin. If
    there are no such images, p is 1.

    >>> mcnemar_p(4, 0)  # four heads of four, either way: 2 / 2**4
    0.125
    """
    tosses = only_a + only_b
    # Whole numbers keep the binomial tail exact for any number of discordant images.
    ways = tail = 1
    for heads in range(min(only_a, only_b)):
        ways = ways * (tosses - heads) // (heads + 1)
        tail += ways
    return min(1.0, 2 * tail / 2**tosses)


def paired_difference(
    only_a: int, only_b: int, n: int, step: int = 1
) -> tuple[float, float, float]:
    """The accuracy of `a` minus that of `b` on the same n images, with its interval: (difference, low, high).

    The difference is d (2 t - 1): d is the share of the images that exactly one model gets right, and t the share
    of those that `a` gets right. The interval of t inverts the exact McNemar test; the interval of d is exact too. They
    are combined by the root of the sum of squares, as Newcombe 1998 combines the intervals of two proportions (Donner
    and Zou 2012, Statistical Methods in Medical Research 21, 347-359). If t is 1/2, only the interval of t counts.

    0 is outside the interval if and only if `step` times `mcnemar_p` is below `SIGNIFICANCE`.

    Args:
      step: as `holm_steps` gives it; the confidence is 1 - `SIGNIFICANCE` / `step`.

    >>> [round(x, 4) for x in paired_difference(7, 1, 21)]
    [0.2857, -0.055, 0.4847]
    """
    differ = step * mcnemar_p(only_a, only_b) < SIGNIFICANCE
    low, high = _interval(only_a, only_b, n, SIGNIFICANCE / step, differ)
    return (only_a - only_b) / n, low, high


def equivalence_margin(only_a: int, only_b: int, n: int) -> float:
    """The smallest margin within which two models are shown to be equally accurate, on the same n images.

    Two one-sided tests at 5 % each (TOST: Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15,
    657-680) reject every difference of at least the margin, in both directions. So the margin is the end of the 90 %
    interval that is farther from 0.

    >>> round(equivalence_margin(60, 50, 10_000), 4)
    0.0028
    """
    differ = mcnemar_p(only_a, only_b) < 2 * SIGNIFICANCE
    low, high = _interval(only_a, only_b, n, 2 * SIGNIFICANCE, differ)
    return max(-low, high)


def holm_steps(p_values: Sequence[float]) -> list[int]:
    """The number by which Holm's procedure divides the significance level for each p value, in the same order.

    If the test of a p value rejects, its step is that of its rank; otherwise, the step at which the procedure stopped.
    So a step times its p value is below `SIGNIFICANCE` if and only if the adjusted p value from `holm` is.

    >>> holm_steps([0.001, 0.04, 0.03])  # 0.001 < 0.05 / 3; then 0.03 is not below 0.05 / 2
    [3, 2, 2]
    """
    ranked, kept = sorted(p_values), [p >= SIGNIFICANCE for p in holm(p_values)]
    steps = [len(ranked) - bisect.bisect_left(ranked, p) for p in p_values]
    stopped = max((step for step, k in zip(steps, kept, strict=True) if k), default=0)
    return [stopped if k else step for step, k in zip(steps, kept, strict=True)]


def _interval(only_a: int, only_b: int, n: int, level: float, differ: bool) -> tuple[float, float]:
    """The interval of `paired_difference` at a level; `differ` is True if the test rejects at that level."""
    d, confidence = (only_a + only_b) / n, 1 - level
    d_low, d_high = clopper_pearson(only_a + only_b, n, confidence)
    if d == 0:
        return -float(f"{d_high:.9g}"), float(f"{d_high:.9g}")
    t = only_a / (only_a + only_b)
    t_low, t_high = clopper_pearson(only_a, only_a + only_b, confidence)
    slope = 2 * t - 1
    d_below, d_above = (d_low, d_high) if slope > 0 else (d_high, d_low)
    low = d * slope - math.hypot(2 * d * (t - t_low), slope * (d - d_below))
    high = d * slope + math.hypot(2 * d * (t_high - t), slope * (d_above - d))
    # If the test rejects, 0 is outside: the nearer end is at least the smallest product that both intervals allow.
    if differ and slope > 0:
        low = max(low, d_low * (2 * t_low - 1))
    elif differ:
        high = min(high, d_low * (2 * t_high - 1))
    # The limits are right to about twelve digits. Keep nine, so that every machine gives the same digits.
    return float(f"{max(low, -1.0):.9g}"), float(f"{min(high, 1.0):.9g}")


def paired_t(differences: Sequence[float]) -> tuple[float, float, float]:
    """The mean of differences between pairs of runs, their standard deviation (n - 1), and the two-sided p of mean 0.

    The paired t test (Student 1908, Biometrika 6, 1-25). If all differences are equal, the deviation
    is 0 and p is that of the sign test, 2 / 2**n, or 1 if they are all 0.

    >>> [round(x, 4) for x in paired_t([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])]
    [0.75, 1.789, 0.2176]
    """
    n, mean = len(differences), statistics.fmean(differences)
    sd = statistics.stdev(differences)
    if sd <= 1e-12:
        return mean, sd, 2 / 2**n if abs(mean) > 1e-12 else 1.0
    squared = (mean / sd) ** 2 * n
    # The probability of a t farther from 0, by the beta distribution at (n - 1) / (n - 1 + t**2).
    share = (n - 1) / (n - 1 + squared)
    p = beta_below(share, (n - 1) / 2, 0.5) if share < 1 else 1.0
    return mean, sd, p
