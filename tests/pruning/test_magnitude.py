"""One threshold for all kernels: the exact total number of zeros, by scores that do not depend on scale."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.pruning.magnitude import drops_by_layer, drops_overall, lamp_scores, without_smallest

elements = st.floats(-8, 8, width=16)
arrays = hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=4), elements=elements)
kernels = st.dictionaries(st.sampled_from("abcd"), arrays, min_size=1)
fractions = st.floats(0, 1)

Kernels = dict[str, np.ndarray]


def size_of(kernels: Kernels) -> int:
    return sum(w.size for w in kernels.values())


def in_range(kernels: Kernels, fraction: float) -> float:
    """A sparsity that leaves each kernel at least one weight."""
    return fraction * (size_of(kernels) - len(kernels)) / size_of(kernels)


def masks_of(kernels: Kernels, sparsity: float) -> Kernels:
    drops = drops_overall(kernels, sparsity)
    return {name: without_smallest(w, drops[name]) for name, w in kernels.items()}


@settings(derandomize=True, deadline=None)
@given(arrays)
def test_a_lamp_score_is_the_square_divided_by_the_sum_of_squares_not_smaller(
    w: np.ndarray,
) -> None:
    squares = np.square(w.astype(np.float64)).ravel()
    order = np.argsort(np.abs(w), axis=None, kind="stable")
    for place, index in enumerate(order):
        whole = squares[order[place:]].sum()
        expected = squares[index] / whole if squares[index] else 0
        np.testing.assert_allclose(lamp_scores(w).ravel()[index], expected, rtol=1e-9)


@settings(derandomize=True, deadline=None)
@given(arrays)
def test_lamp_scores_have_the_order_of_magnitudes_and_end_at_one(w: np.ndarray) -> None:
    order = np.argsort(np.abs(w), axis=None, kind="stable")
    scores = lamp_scores(w).ravel()[order]
    assert np.all(np.diff(scores) >= 0)
    assert scores[-1] == (1 if w.any() else 0)


@settings(derandomize=True, deadline=None)
@given(arrays, st.sampled_from([-1.0, 2.0**-120, 0.5, 4.0, 2.0**100]))
def test_lamp_scores_do_not_change_when_a_kernel_is_scaled(w: np.ndarray, factor: float) -> None:
    np.testing.assert_allclose(
        lamp_scores(w * np.float32(factor)), lamp_scores(w), rtol=1e-6, atol=1e-12
    )


@settings(derandomize=True, deadline=None)
@given(kernels, fractions)
def test_the_total_number_of_dropped_weights_is_exact(kernels: Kernels, fraction: float) -> None:
    sparsity = in_range(kernels, fraction)
    drops = drops_overall(kernels, sparsity)
    assert list(drops) == list(kernels)
    assert sum(drops.values()) == round(sparsity * size_of(kernels))
    assert all(0 <= drops[name] < w.size for name, w in kernels.items())


@settings(derandomize=True, deadline=None)
@given(kernels, fractions)
def test_every_kept_score_is_at_least_every_dropped_one(kernels: Kernels, fraction: float) -> None:
    masks = masks_of(kernels, in_range(kernels, fraction))
    # Except for a kernel of zeros: its last weight may not be dropped.
    alive = {name: w for name, w in kernels.items() if w.any()}
    kept = [lamp_scores(w)[masks[name]].min() for name, w in alive.items()]
    dropped = [lamp_scores(w)[~masks[name]].max(initial=0) for name, w in kernels.items()]
    assert min(kept, default=1) >= max(dropped)


@settings(derandomize=True, deadline=None)
@given(kernels, fractions, st.sampled_from([2.0**-10, 0.5, 4.0]))
def test_scaling_one_or_all_kernels_does_not_change_the_drops(
    kernels: Kernels, fraction: float, factor: float
) -> None:
    sparsity = in_range(kernels, fraction)
    expected = drops_overall(kernels, sparsity)
    first = next(iter(kernels))
    one = kernels | {first: kernels[first] * np.float32(factor)}
    every = {name: w * np.float32(factor) for name, w in kernels.items()}
    assert drops_overall(one, sparsity) == expected
    assert drops_overall(every, sparsity) == expected


@settings(derandomize=True, deadline=None)
@given(kernels, fractions, fractions)
def test_more_sparsity_drops_more_of_every_kernel(
    kernels: Kernels, one: float, other: float
) -> None:
    low, high = sorted([in_range(kernels, one), in_range(kernels, other)])
    less, more = drops_overall(kernels, low), drops_overall(kernels, high)
    assert all(less[name] <= more[name] for name in kernels)


@settings(derandomize=True, deadline=None)
@given(kernels, fractions, fractions)
def test_pruning_further_keeps_a_subset(kernels: Kernels, one: float, other: float) -> None:
    low, high = sorted([in_range(kernels, one), in_range(kernels, other)])
    once = {name: np.where(keep, kernels[name], 0) for name, keep in masks_of(kernels, low).items()}
    for name, keep in masks_of(once, high).items():
        assert not np.any(keep & (once[name] == 0) & (kernels[name] != 0) & once[name].any())


@settings(derandomize=True, deadline=None)
@given(kernels)
def test_sparsity_zero_drops_nothing(kernels: Kernels) -> None:
    assert set(drops_overall(kernels, 0).values()) == {0}


def test_a_kernel_of_many_large_weights_keeps_more() -> None:
    rng = np.random.default_rng(0)
    even, peaked = rng.normal(size=1000), rng.normal(size=1000) ** 5
    drops = drops_overall({"even": even, "peaked": peaked}, 0.6)
    assert drops["even"] < 500 < 700 < drops["peaked"]
    assert drops_by_layer({"even": even, "peaked": peaked}, 0.6) == {"even": 600, "peaked": 600}


def test_a_sparsity_that_would_empty_a_kernel_is_refused() -> None:
    kernels = {"a": np.ones(2), "b": np.ones(2)}
    assert drops_overall(kernels, 0.5) == {"a": 1, "b": 1}
    with pytest.raises(ValueError, match=r"a sparsity of 0.75 over 2 kernels would leave one"):
        drops_overall(kernels, 0.75)
