"""Two models on the same images: examples from the literature, numbers worked out by hand, and properties."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_rel

from compress.statistics.paired import (
    discordant,
    equivalence_margin,
    holm_steps,
    mcnemar_p,
    paired_difference,
    paired_t,
)
from compress.statistics.significance import SIGNIFICANCE, holm, two_proportion_difference

# Counts of images that only the first model gets right, only the second, and all others.
TABLES = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 2000))
STEPS = st.integers(1, 40)
SETTINGS = settings(derandomize=True, deadline=None)


def test_discordant_counts_the_images_that_only_one_model_gets_right() -> None:
    a = np.array([True, True, True, False, False])
    b = np.array([True, False, False, True, False])
    assert discordant(a, b) == (2, 1)


def test_models_on_different_images_are_not_paired() -> None:
    with pytest.raises(ValueError, match="needs the same images for both models"):
        discordant(np.ones(3, bool), np.ones(4, bool))
    with pytest.raises(ValueError, match="at least one"):
        discordant(np.ones(0, bool), np.ones(0, bool))


# McNemar


def test_mcnemar_gives_the_example_of_fagerland() -> None:
    # Airway reactivity of 21 children before and after transplantation (Bentur et al. 2009), the example of
    # Fagerland, Lydersen and Laake 2013 (BMC Medical Research Methodology 13:91): 1 and 7 disagree, exact p 0.0703.
    assert mcnemar_p(1, 7) == pytest.approx(18 / 256)


def test_mcnemar_gives_the_example_of_agresti() -> None:
    # Approval of the prime minister in two surveys (Agresti, Categorical Data Analysis, 2nd edition, table 10.1):
    # 150 and 86 of 1600 changed their minds; z squared is 17.36. The exact test is of the same order.
    assert mcnemar_p(86, 150) == pytest.approx(3.7e-5, rel=0.02)
    # There the 95 % interval of the difference is 0.04 -+ 0.0188 (Wald).
    assert paired_difference(150, 86, 1600) == pytest.approx((0.04, 0.0212, 0.0588), abs=1e-3)


@SETTINGS
@given(st.integers(0, 30), st.integers(0, 30))
def test_mcnemar_p_is_the_two_sided_tail_of_a_fair_coin(only_a: int, only_b: int) -> None:
    tosses = only_a + only_b
    tail = sum(comb(tosses, k) for k in range(min(only_a, only_b) + 1)) / 2**tosses
    assert mcnemar_p(only_a, only_b) == pytest.approx(min(1, 2 * tail))


@SETTINGS
@given(st.integers(0, 3000), st.integers(0, 3000))
def test_mcnemar_agrees_with_the_exact_binomial_test_of_scipy(only_a: int, only_b: int) -> None:
    theirs = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1
    assert mcnemar_p(only_a, only_b) == pytest.approx(theirs, rel=1e-9, abs=1e-300)


# The interval


@SETTINGS
@given(st.lists(TABLES, min_size=1, max_size=12))
def test_the_interval_excludes_0_exactly_if_the_adjusted_p_is_significant(
    tables: list[tuple[int, int, int]],
) -> None:
    p_values = [mcnemar_p(a, b) for a, b, _ in tables]
    steps = holm_steps(p_values)
    for (a, b, others), p, step in zip(tables, holm(p_values), steps, strict=True):
        _, low, high = paired_difference(a, b, a + b + others, step)
        assert (low > 0 or high < 0) == (p < SIGNIFICANCE)


@SETTINGS
@given(TABLES, STEPS)
def test_a_paired_difference_changes_sign_when_the_models_are_swapped(
    table: tuple[int, int, int], step: int
) -> None:
    a, b, others = table
    difference, low, high = paired_difference(a, b, a + b + others, step)
    assert difference == (a - b) / (a + b + others)
    assert -1 <= low <= difference <= high <= 1
    turned = paired_difference(b, a, a + b + others, step)
    assert turned == pytest.approx((-difference, -high, -low), abs=1e-12)
    _, lower, higher = paired_difference(a, b, a + b + others, step + 1)
    assert lower <= low + 1e-12
    assert high <= higher + 1e-12


def test_models_that_agree_everywhere_have_an_interval_of_positive_width() -> None:
    # No image of 10,000 is discordant: the exact interval of that share ends at 1 - 0.025**(1 / 10000).
    assert mcnemar_p(0, 0) == 1
    assert paired_difference(0, 0, 10_000) == pytest.approx((0, -3.688e-4, 3.688e-4), abs=1e-7)


@pytest.mark.parametrize("share", [0.01, 0.09, 0.3])
@pytest.mark.parametrize("wins", [0.5, 0.7, 0.95])
def test_the_interval_covers_the_true_difference_95_times_in_100(share: float, wins: float) -> None:
    rng = np.random.default_rng(0)
    n, draws = 1000, 200
    apart = rng.binomial(n, share, draws)
    held = 0
    for d, a in zip(apart.tolist(), rng.binomial(apart, wins).tolist(), strict=True):
        _, low, high = paired_difference(a, d - a, n)
        held += low <= share * (2 * wins - 1) <= high
    # Four standard errors of a count of 200 at 0.95 are 12.
    assert held >= 190 - 12


def test_pairing_narrows_the_interval_of_models_with_similar_errors() -> None:
    _, low, high = paired_difference(20, 10, 1000)
    _, lower, higher = two_proportion_difference(920, 1000, 910, 1000)
    assert high - low < (higher - lower) / 2


# Equivalence


@SETTINGS
@given(TABLES)
def test_an_equivalence_margin_covers_the_difference_and_is_symmetric(
    table: tuple[int, int, int],
) -> None:
    a, b, others = table
    n = a + b + others
    margin = equivalence_margin(a, b, n)
    assert abs(a - b) / n <= margin <= 1
    assert margin == pytest.approx(equivalence_margin(b, a, n))


def test_more_images_give_a_smaller_equivalence_margin() -> None:
    assert equivalence_margin(600, 600, 100_000) < equivalence_margin(60, 60, 10_000) / 2


def test_the_equivalence_margin_is_close_to_the_example_of_tango() -> None:
    # Tango 1998 (Statistics in Medicine 17, 891-908): of 44 crossover pairs one alone is discordant. His score test
    # shows that the worse is at most 0.1 worse with z = 1.709, p = 0.044; the margin of that test at 5 % is 0.095.
    # Exact intervals are wider: 0.103 is the exact upper limit, one-sided at 5 %, of 1 in 44.
    margin = equivalence_margin(0, 1, 44)
    assert margin == pytest.approx(0.1033, abs=5e-5)
    assert 0.095 < margin < 0.1 + 0.01


# Holm


@SETTINGS
@given(st.lists(st.one_of(st.floats(0, 1), st.just(0.01), st.just(0.03)), max_size=12))
def test_holm_steps_reject_exactly_what_adjusted_p_values_reject(p_values: list[float]) -> None:
    adjusted, steps = holm(p_values), holm_steps(p_values)
    assert all(1 <= step <= len(p_values) for step in steps)
    for p, q, step in zip(p_values, adjusted, steps, strict=True):
        assert (step * p < SIGNIFICANCE) == (q < SIGNIFICANCE)


def test_holm_steps_match_values_worked_out_by_hand() -> None:
    # 0.005 < 0.05 / 4, 0.011 < 0.05 / 3, 0.02 < 0.05 / 2, 0.04 < 0.05: each at the step of its rank.
    assert holm_steps([0.04, 0.005, 0.02, 0.011]) == [1, 4, 2, 3]
    # 0.03 is not below 0.05 / 2: there the procedure stops, and 0.04 stays at that step.
    assert holm_steps([0.04, 0.005, 0.03]) == [2, 3, 2]
    assert holm_steps([]) == []


# Over seeds


def test_the_paired_t_test_gives_the_example_of_student() -> None:
    # Student 1908: hours of sleep gained by ten patients with two drugs; mean 1.58, t 4.06, p 0.0028.
    gained = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    mean, sd, p = paired_t(gained)
    assert (mean, sd) == pytest.approx((1.58, 1.23), abs=5e-3)
    assert p == pytest.approx(0.00283, abs=5e-6)


@SETTINGS
@given(st.lists(st.floats(-0.1, 0.1).map(lambda x: round(x, 4)), min_size=2, max_size=9))
def test_the_paired_t_test_agrees_with_scipy(differences: list[float]) -> None:
    if max(differences) - min(differences) > 1e-4:
        theirs = ttest_rel(differences, [0] * len(differences)).pvalue
        assert paired_t(differences)[2] == pytest.approx(theirs, abs=1e-9)


def test_equal_or_canceling_differences_are_not_significant() -> None:
    assert paired_t([0.01, 0.01]) == pytest.approx((0.01, 0, 0.5))
    assert paired_t([0.0, 0.0])[2] == 1
    assert paired_t([0.1, -0.1, 0.2, -0.1 - 0.1])[2] == 1
    assert paired_t([0.01, -0.01 + 1e-17, 0.03, -0.03])[2] == 1
    assert paired_t([0.3, -0.1, -0.1, -0.1])[2] == pytest.approx(1)
