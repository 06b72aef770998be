"""Confidence intervals and tests for accuracies and for differences between them.

Only the standard library is used: importing scipy.stats takes longer than showing a saved run. The tests compare each
function with scipy or statsmodels.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from statistics import NormalDist

SIGNIFICANCE = 0.05  # if the adjusted p is this or more, two models are "not distinguishable"
CONFIDENCE = 0.95


def wilson_interval(successes: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The Wilson score interval of a proportion, (low, high), within [0, 1].

    Wilson 1927 (Journal of the American Statistical Association 22, 209-212).

    Raises:
      ValueError: n is not above 0, or successes are not from 0 to n.

    >>> [round(x, 4) for x in wilson_interval(8, 10)]
    [0.4902, 0.9433]
    """
    _check_counts(successes, n)
    z = _normal_quantile(confidence)
    p, shrink = successes / n, 1 + z * z / n
    middle = (p + z * z / (2 * n)) / shrink
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / shrink
    # For 0 and for n successes, the formula gives 0 and 1, apart from rounding errors.
    low = 0.0 if successes == 0 else middle - half
    high = 1.0 if successes == n else middle + half
    return low, high


def clopper_pearson(successes: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The exact interval of a proportion, (low, high): the proportions that the binomial test does not reject.

    Clopper and Pearson 1934 (Biometrika 26, 404-413). If n is 0, it is 0 to 1.

    >>> [round(x, 4) for x in clopper_pearson(8, 10)]
    [0.4439, 0.9748]
    """
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else _beta_quantile(tail, successes, n - successes + 1)
    high = 1.0 if successes == n else 1 - _beta_quantile(tail, n - successes, successes + 1)
    return low, high


def two_proportion_z(successes_a: int, n_a: int, successes_b: int, n_b: int) -> float:
    """The proportion of `a` minus that of `b`, in pooled standard errors.

    The samples are independent. The result is 0 if both proportions are 0 or both are 1.

    >>> round(two_proportion_z(60, 100, 40, 100), 3)  # 0.2 / sqrt(0.5 * 0.5 * 2 / 100)
    2.828
    """
    _check_counts(successes_a, n_a)
    _check_counts(successes_b, n_b)
    pooled = (successes_a + successes_b) / (n_a + n_b)
    variance = pooled * (1 - pooled) * (1 / n_a + 1 / n_b)
    return (successes_a / n_a - successes_b / n_b) / variance**0.5 if variance else 0.0


def two_proportion_p(successes_a: int, n_a: int, successes_b: int, n_b: int) -> float:
    """The two-sided p of the pooled z test that two independent samples have the same proportion.

    >>> round(two_proportion_p(60, 100, 40, 100), 4)
    0.0047
    """
    return math.erfc(abs(two_proportion_z(successes_a, n_a, successes_b, n_b)) / math.sqrt(2))


def two_proportion_difference(
    successes_a: int, n_a: int, successes_b: int, n_b: int
) -> tuple[float, float, float]:
    """The proportion of `a` minus that of `b`, for independent samples, with its interval.

    Method 10 of Newcombe 1998 (Statistics in Medicine 17, 873-890) combines the two Wilson
    intervals; the numbers below are an example from that paper.

    Returns:
      (difference, low, high), each within [-1, 1]; low and high at 95 % confidence.

    >>> [round(x, 4) for x in two_proportion_difference(56, 70, 48, 80)]
    [0.2, 0.0524, 0.3339]
    """
    _check_counts(successes_a, n_a)
    _check_counts(successes_b, n_b)
    a, b = successes_a / n_a, successes_b / n_b
    (low_a, high_a), (low_b, high_b) = (
        wilson_interval(successes_a, n_a),
        wilson_interval(successes_b, n_b),
    )
    low = a - b - math.hypot(a - low_a, high_b - b)
    high = a - b + math.hypot(high_a - a, b - low_b)
    return a - b, low, high


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjustment of the p values of several tests, in the same order: Holm 1979 (Scand. J. Statist. 6, 65-70).

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]  # 3 * 0.01; 2 * 0.03; at least the last
    [0.03, 0.06, 0.06]
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


@functools.lru_cache(maxsize=2**16)
def _beta_quantile(probability: float, a: int, b: int) -> float:
    """The quantile of the beta distribution with parameters `a` and `b` at `probability`."""
    low, high, x = 0.0, 1.0, _about_beta_quantile(probability, a, b)
    for _ in range(200):
        value = beta_below(x, a, b)
        density = math.exp(_log_power(x, a, b) - math.log(x) - math.log1p(-x))
        low, high = (x, high) if value < probability else (low, x)
        # Take Newton's step; if it would leave the bracket, halve the bracket instead.
        step = x - (value - probability) / density if density else 0.0
        new = step if low < step < high else (low + high) / 2
        # Each of Newton's steps squares the error: after a step this small, the error is negligible.
        if abs(new - x) <= 1e-11 * x:
            return new
        x = new
    return x


def _about_beta_quantile(probability: float, a: int, b: int) -> float:
    """An approximation of `_beta_quantile`: Abramowitz and Stegun 1964, 26.5.22."""
    mean = a / (a + b)
    if min(a, b) <= 1:
        return mean
    y = NormalDist().inv_cdf(1 - probability)
    inverse_a, inverse_b = 1 / (2 * a - 1), 1 / (2 * b - 1)
    h, bend = 2 / (inverse_a + inverse_b), (y * y - 3) / 6
    if h + bend <= 0:
        return mean
    w = y * math.sqrt(h + bend) / h - (inverse_b - inverse_a) * (bend + 5 / 6 - 2 / (3 * h))
    x = a / (a + b * math.exp(2 * w)) if w < 300 else 0.0
    return x if 0 < x < 1 else mean


def beta_below(x: float, a: float, b: float) -> float:
    """The cumulative beta distribution at x, above 0 and below 1, by its continued fraction.

    Numerical Recipes, section 6.4: Lentz's method, reflected where the fraction converges slowly.

    >>> round(beta_below(0.25, 2, 1), 6)  # x squared
    0.0625
    """
    power = math.exp(_log_power(x, a, b))
    if x > (a + 1) / (a + b + 2):
        return 1 - power * _fraction(1 - x, b, a) / b
    return power * _fraction(x, a, b) / a


def _log_power(x: float, a: float, b: float) -> float:
    """The logarithm of x**a (1 - x)**b over the beta function."""
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return scale + a * math.log(x) + b * math.log1p(-x)


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function."""
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    value = d
    for m in range(1, 10_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def _normal_quantile(confidence: float) -> float:
    """The number of standard deviations on each side of the mean that hold `confidence` of a normal distribution."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _check_counts(successes: int, n: int) -> None:
    if not 0 <= successes <= n or n == 0:
        raise ValueError(
            f"{successes} of {n} is not a proportion: n must be above 0, successes from 0 to n."
        )
