"""Tests and intervals: textbook numbers, numbers worked out by hand, and properties."""

from __future__ import annotations

import gc
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from compress.statistics.significance import (
    SIGNIFICANCE,
    clopper_pearson,
    holm,
    two_proportion_difference,
    two_proportion_p,
    two_proportion_z,
    wilson_interval,
)

COUNTS = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_wilson_interval_of_no_success_is_the_known_fraction() -> None:
    squared = 1.959963984540054**2
    low, high = wilson_interval(0, 10)
    assert low == pytest.approx(0, abs=1e-12)
    assert high == pytest.approx(squared / (10 + squared))


def test_wilson_interval_gives_the_example_of_newcombe() -> None:
    # Newcombe 1998 (Statistics in Medicine 17, 857-872, table I, method 3): 81 of 263, 15 of 148, 0 of 20.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


@given(COUNTS)
def test_wilson_interval_contains_the_proportion_and_is_symmetric(count: tuple[int, int]) -> None:
    successes, n = count
    low, high = wilson_interval(successes, n)
    assert 0 <= low <= successes / n + 1e-12
    assert successes / n - 1e-12 <= high <= 1
    mirrored = wilson_interval(n - successes, n)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9)


def test_more_confidence_widens_the_wilson_interval() -> None:
    low, high = wilson_interval(85, 100)
    lower, higher = wilson_interval(85, 100, confidence=0.99)
    assert lower < low < high < higher


@settings(derandomize=True, deadline=None)
@given(
    st.integers(1, 30_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.integers(1, 40),
)
def test_the_exact_interval_agrees_with_statsmodels(count: tuple[int, int], step: int) -> None:
    theirs = proportion_confint(*count, alpha=SIGNIFICANCE / step, method="beta")
    assert clopper_pearson(*count, 1 - SIGNIFICANCE / step) == pytest.approx(theirs, abs=1e-10)


def test_the_exact_interval_gives_the_example_of_newcombe() -> None:
    # 81 of 263 (Newcombe 1998, Statistics in Medicine 17, 857-872, table I): exact 0.2527 to 0.3676.
    assert clopper_pearson(81, 263) == pytest.approx((0.2527, 0.3676), abs=5e-5)
    assert clopper_pearson(0, 20) == pytest.approx((0, 0.1684), abs=5e-5)
    assert clopper_pearson(0, 0) == (0, 1)


def test_z_matches_a_value_worked_out_by_hand() -> None:
    # 30 of 50 against 20 of 50: pooled 0.5, standard error sqrt(0.25 * 2 / 50) = 0.1.
    assert two_proportion_z(30, 50, 20, 50) == pytest.approx(2.0)
    assert two_proportion_p(30, 50, 20, 50) == pytest.approx(0.0455, abs=5e-5)


@given(COUNTS, COUNTS)
def test_swapping_the_samples_changes_the_sign_of_z_and_not_p(
    a: tuple[int, int], b: tuple[int, int]
) -> None:
    assert two_proportion_z(*a, *b) == pytest.approx(-two_proportion_z(*b, *a), abs=1e-12)
    assert two_proportion_p(*a, *b) == pytest.approx(two_proportion_p(*b, *a))


def test_the_z_test_agrees_with_the_chi_square_test_of_the_same_table() -> None:
    table = [[6947, 7500 - 6947], [8543, 10_000 - 8543]]
    chi_square, p, *_ = chi2_contingency(table, correction=False)
    assert two_proportion_z(6947, 7500, 8543, 10_000) ** 2 == pytest.approx(chi_square)
    assert two_proportion_p(6947, 7500, 8543, 10_000) == pytest.approx(p)


def test_two_samples_without_any_failure_do_not_differ() -> None:
    assert two_proportion_z(10, 10, 20, 20) == 0
    assert two_proportion_p(10, 10, 20, 20) == 1


def test_the_independent_interval_gives_newcombes_example() -> None:
    # Newcombe 1998 (Statistics in Medicine 17, 873-890), method 10: 9 of 10 against 3 of 10.
    difference, low, high = two_proportion_difference(9, 10, 3, 10)
    assert difference == pytest.approx(0.6)
    assert (low, high) == pytest.approx((0.1705, 0.8090), abs=5e-5)


@given(COUNTS, COUNTS)
def test_the_wilson_and_newcombe_intervals_agree_with_statsmodels(
    a: tuple[int, int], b: tuple[int, int]
) -> None:
    assert wilson_interval(*a) == pytest.approx(proportion_confint(*a, method="wilson"), abs=1e-12)
    theirs = confint_proportions_2indep(*a, *b, method="newcomb")
    assert two_proportion_difference(*a, *b)[1:] == pytest.approx(theirs, abs=1e-9)


@settings(max_examples=15)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_agrees_with_statsmodels(p_values: list[float]) -> None:
    # statsmodels collects garbage in each call, which takes seconds where many models have been made.
    with mock.patch.object(gc, "collect"):
        theirs = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(list(theirs), abs=1e-12)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_the_order_and_never_lowers_a_p(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert len(adjusted) == len(p_values)
    assert all(p <= q + 1e-12 and q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    ranked = [q for _, q in sorted(zip(p_values, adjusted, strict=True))]
    assert ranked == sorted(ranked)


def test_holm_matches_values_worked_out_by_hand() -> None:
    # Smallest first: 4 * 0.005, 3 * 0.011, 2 * 0.02, 1 * 0.04; none below the one before.
    assert holm([0.04, 0.005, 0.02, 0.011]) == pytest.approx([0.04, 0.02, 0.04, 0.033])
    assert holm([]) == []


def test_holm_gives_the_example_of_benjamini_and_hochberg() -> None:
    # The p values of Benjamini and Hochberg 1995 (J. R. Statist. Soc. B 57, 289-300, section 4): of fifteen tests,
    # procedures that control the familywise error at 0.05 reject the first three.
    p_values = [
        0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
        0.5719, 0.6528, 0.7590, 1.0,
    ]  # fmt: skip
    adjusted = holm(p_values)
    assert adjusted[:4] == pytest.approx([0.0015, 0.0056, 0.0247, 0.1140])
    assert [p < SIGNIFICANCE for p in adjusted] == [True] * 3 + [False] * 12


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_counts_that_are_not_a_proportion_are_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"{successes} of {n} is not a proportion"):
        wilson_interval(successes, n)
    with pytest.raises(ValueError, match="is not a proportion"):
        two_proportion_p(1, 2, successes, n)
