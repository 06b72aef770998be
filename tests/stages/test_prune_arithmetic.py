"""Which weights are dropped, and at which steps."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.pruning.magnitude import magnitude_mask, ramp_steps
from compress.tfmot import bridge

arrays = hnp.arrays(
    np.float32, hnp.array_shapes(max_dims=4, max_side=5), elements=st.floats(-8, 8, width=16)
)
fractions = st.floats(0, 1)


@given(arrays, fractions)
def test_exactly_the_asked_number_of_weights_is_dropped(w: np.ndarray, sparsity: float) -> None:
    assert np.sum(~magnitude_mask(w, sparsity)) == round(sparsity * w.size)


@given(arrays, fractions)
def test_every_kept_weight_is_at_least_every_dropped_one(w: np.ndarray, sparsity: float) -> None:
    mask = magnitude_mask(w, sparsity)
    assert mask.shape == w.shape
    assert min(np.abs(w[mask]), default=np.inf) >= max(np.abs(w[~mask]), default=0)


@given(arrays, fractions, st.sampled_from([2.0**-10, 0.5, 4.0, 1024.0]))
def test_scaling_changes_no_mask(w: np.ndarray, sparsity: float, factor: float) -> None:
    np.testing.assert_array_equal(
        magnitude_mask(w, sparsity), magnitude_mask(w * np.float32(factor), sparsity)
    )


@given(arrays, fractions, fractions)
def test_more_sparsity_keeps_a_subset(w: np.ndarray, one: float, other: float) -> None:
    low, high = sorted([one, other])
    once = np.where(magnitude_mask(w, low), w, 0)
    assert not np.any(magnitude_mask(once, high) & ~magnitude_mask(w, low) & (w != 0))
    assert not np.any(magnitude_mask(w, high) & ~magnitude_mask(w, low))


@given(arrays)
def test_sparsity_zero_keeps_all(w: np.ndarray) -> None:
    assert magnitude_mask(w, 0).all()


def test_the_first_of_equal_weights_are_dropped() -> None:
    mask = magnitude_mask(np.array([[1.0, -1.0], [1.0, 2.0]]), 0.5)
    np.testing.assert_array_equal(mask, [[False, False], [True, True]])


@given(st.floats(0, 0.99), st.floats(0.01, 1), st.integers(1, 5000))
def test_the_ramp_ends_on_an_update_within_the_training(
    begin: float, length: float, total: int
) -> None:
    end = min(1.0, begin + length)
    first, last, frequency = ramp_steps(begin, end, total)
    assert 0 <= first < last <= total
    assert (last - first) % frequency == 0
    assert last >= 1  # tfmot's first step is 1
    if total >= 50 and length >= 0.2:
        assert abs(first - begin * total) <= 1
        assert abs(last - end * total) <= 1 + 0.04 * total


@pytest.mark.parametrize("total", [1, 2, 3, 7, 120])
def test_tfmot_reaches_the_end_of_the_ramp(total: int) -> None:
    begin_step, end_step, frequency = ramp_steps(0.0, 0.4, total)
    schedule = bridge.tfmot().sparsity.keras.PolynomialDecay(
        0.0, 0.5, begin_step, end_step, frequency=frequency
    )
    updates = [
        float(sparsity) for update, sparsity in map(schedule, range(1, total + 1)) if bool(update)
    ]
    assert updates[-1] == 0.5
    assert updates == sorted(updates)
