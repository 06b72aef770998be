"""Choosing filters: the least important are removed first, the target is met but not overshot, counts are rounded."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.pruning.selection import (
    Candidates,
    Cost,
    Scope,
    candidates,
    choose,
    kept_counts,
    least_cost,
)

SIZES = st.lists(st.integers(1, 20), min_size=1, max_size=4)
both_scopes = pytest.mark.parametrize("scope", ["layer", "global"])


def chain(sizes: list[int], scores: np.ndarray, round_to: int | None) -> list[Candidates]:
    """Groups of these sizes, with their units numbered in order."""
    ends = np.cumsum([0, *sizes])
    return [candidates(np.arange(a, b), scores[a:b], round_to) for a, b in itertools.pairwise(ends)]


def product_cost(sizes: list[int]) -> Cost:
    """The weights of a chain of Dense layers with an input of 3 and an output of 2."""
    ends = np.cumsum([0, *sizes])

    def cost(kept: np.ndarray) -> int:
        widths = [kept[a:b].sum() for a, b in itertools.pairwise(ends)]
        return int(sum(a * b for a, b in zip([3, *widths], [*widths, 2], strict=True)))

    return cost


@given(st.integers(1, 200), st.one_of(st.none(), st.integers(1, 40)))
def test_kept_counts_decrease_from_all_filters_in_multiples(n: int, round_to: int | None) -> None:
    counts = kept_counts(n, round_to)
    assert counts[0] == n
    assert list(counts) == sorted(set(counts), reverse=True)
    step = round_to or math.gcd(*counts[1:]) or 1
    assert all(c % step == 0 and c >= step for c in counts[1:])
    if round_to:
        assert len(counts) == 1 + (n - 1) // round_to
    else:
        assert step in (1, 2, 4, 8)
        assert n == 1 or len(counts) > 1


@given(
    SIZES,
    st.floats(0, 1),
    st.sampled_from([None, 1, 3, 4]),
    st.sampled_from(["layer", "global"]),
    st.integers(0, 9),
)
def test_the_target_is_met_without_a_needless_last_step(
    sizes: list[int], share: float, round_to: int | None, scope: Scope, seed: int
) -> None:
    scores = np.random.default_rng(seed).random(sum(sizes)) ** 3
    groups, cost = chain(sizes, scores, round_to), product_cost(sizes)
    target = share * cost(np.ones(sum(sizes), bool))
    kept = choose(groups, sum(sizes), cost, target, scope)
    counts = [int(kept[g.order].sum()) for g in groups]
    assert all(c in g.stops for c, g in zip(counts, groups, strict=True))
    if least_cost(groups, sum(sizes), cost) <= target:
        assert cost(kept) <= target
        back = []
        for group, count in zip(groups, counts, strict=True):
            if count < group.stops[0]:
                more = kept.copy()
                n = len(group.order)
                more[group.order[n - group.stops[group.stops.index(count) - 1] : n - count]] = True
                back.append(cost(more))
        assert not back or max(back) > target
    else:
        assert counts == [g.stops[-1] for g in groups]


@both_scopes
def test_the_least_important_filters_of_a_group_are_removed(scope: Scope) -> None:
    scores = np.array([5.0, 1.0, 4.0, 0.5, 3.0, 2.0])
    kept = choose(chain([6], scores, 1), 6, product_cost([6]), 15, scope)
    assert np.flatnonzero(~kept).tolist() == [1, 3, 5]


def test_scope_layer_removes_equal_shares_of_layers_whatever_their_scores() -> None:
    scores = np.concatenate([np.full(8, 1e-6), np.full(16, 1e6)])
    kept = choose(chain([8, 16], scores, 1), 24, lambda k: int(k.sum()), 12, "layer")
    assert (kept[:8].sum(), kept[8:].sum()) == (4, 8)


def test_scope_global_removes_filters_by_importance_share_per_cost_saved() -> None:
    # Two layers that differ only in cost: a filter of the first costs three times as much.
    scores = np.ones(16)

    def cost(kept: np.ndarray) -> int:
        return int(3 * kept[:8].sum() + kept[8:].sum())

    kept = choose(chain([8, 8], scores, 1), 16, cost, 22, "global")
    assert (kept[:8].sum(), kept[8:].sum()) == (5, 7) or (kept[:8].sum(), kept[8:].sum()) == (4, 8)
    # Two layers of equal cost, one of them with filters of no importance: those are removed.
    scores[8:12] = 0
    kept = choose(chain([8, 8], scores, 1), 16, lambda k: int(k.sum()), 12, "global")
    assert np.flatnonzero(~kept).tolist() == [8, 9, 10, 11]


def test_scaling_all_scores_of_a_layer_does_not_change_the_choice() -> None:
    scores = np.random.default_rng(0).random(16)
    other = scores * np.repeat([1.0, 1e4], 8)
    cost = product_cost([8, 8])
    one, two = (choose(chain([8, 8], s, 1), 16, cost, 40, "global") for s in (scores, other))
    np.testing.assert_array_equal(one, two)


@both_scopes
def test_no_group_is_emptied(scope: Scope) -> None:
    groups, cost = chain([5, 9], np.zeros(14), 1), product_cost([5, 9])
    kept = choose(groups, 14, cost, 0, scope)
    assert (kept[:5].sum(), kept[5:].sum()) == (1, 1)
    assert cost(kept) == least_cost(groups, 14, cost)


def test_filters_with_equal_scores_are_removed_in_order() -> None:
    kept = choose(chain([6], np.ones(6), 1), 6, lambda k: int(k.sum()), 4, "global")
    assert np.flatnonzero(~kept).tolist() == [0, 1]


def test_scope_layer_takes_the_smaller_step_first() -> None:
    small = candidates(np.arange(8), np.ones(8), None)  # 8, 4
    large = candidates(np.arange(8, 20), np.ones(12), None)  # 12, 8, 4
    kept = choose([small, large], 20, lambda kept: int(kept.sum()), 16, "layer")
    assert (kept[:8].sum(), kept[8:].sum()) == (8, 8)
