"""Rounding weights to fifteen values per channel, and choosing the kernels that stay in 8 bits."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.quantization.gptq import QMAX, most_sensitive, mse_scales, rounded

kernels = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=5),
    elements=st.floats(-8, 8, width=16),
)
harms = st.dictionaries(
    st.sampled_from("abcdefgh"), st.tuples(st.floats(0, 10), st.integers(1, 100)), max_size=8
)


def codes_of(w: np.ndarray) -> np.ndarray:
    steps = mse_scales(w)
    return rounded(w) / np.where(steps > 0, steps, 1)


@settings(derandomize=True, deadline=None)
@given(kernels)
def test_every_weight_is_a_whole_number_of_steps_and_at_most_seven(w: np.ndarray) -> None:
    codes = codes_of(w)
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-5)
    assert np.abs(codes).max() <= QMAX + 1e-5


@settings(derandomize=True, deadline=None)
@given(kernels)
def test_the_largest_weight_of_a_channel_gets_code_seven(w: np.ndarray) -> None:
    """The step can then be recomputed as the channel's largest magnitude divided by seven."""
    largest = np.abs(codes_of(w)).reshape(-1, w.shape[-1]).max(axis=0)
    expected = np.where(np.abs(w).reshape(-1, w.shape[-1]).max(axis=0) > 0, QMAX, 0)
    np.testing.assert_allclose(largest, expected, rtol=1e-5)


@settings(derandomize=True, deadline=None)
@given(kernels)
def test_rounding_has_at_most_the_error_of_the_grid_without_clipping(w: np.ndarray) -> None:
    rows = w.reshape(-1, w.shape[-1]).astype(np.float64)
    step = np.abs(rows).max(axis=0) / QMAX
    plain = np.rint(rows / np.where(step > 0, step, 1)) * step
    ours = rounded(w).reshape(rows.shape).astype(np.float64)
    allowed = np.linalg.norm(plain - rows, axis=0) + 1e-6 * np.linalg.norm(rows, axis=0)
    assert np.all(np.linalg.norm(ours - rows, axis=0) <= allowed)


def test_clipping_an_outlier_reduces_the_rounding_error() -> None:
    w = np.random.default_rng(0).normal(size=(500, 1)).astype(np.float32)
    plain = np.abs(w).max() / QMAX
    assert mse_scales(w)[0] < 0.8 * plain
    assert np.square(rounded(w) - w).sum() < 0.8 * np.square(np.rint(w / plain) * plain - w).sum()


@settings(derandomize=True, deadline=None)
@given(kernels)
def test_rounding_keeps_zeros_and_signs(w: np.ndarray) -> None:
    after = rounded(w)
    assert after.shape == w.shape
    assert after.dtype == w.dtype
    assert not after[w == 0].any()
    assert np.all(after * w >= 0)


@settings(derandomize=True, deadline=None)
@given(kernels)
def test_rounding_twice_changes_nothing(w: np.ndarray) -> None:
    np.testing.assert_allclose(rounded(rounded(w)), rounded(w), rtol=1e-5)


@settings(derandomize=True, deadline=None)
@given(kernels, st.sampled_from([2.0**-10, 0.5, 4.0, 1024.0]))
def test_a_scaled_kernel_has_the_same_codes(w: np.ndarray, factor: float) -> None:
    np.testing.assert_allclose(rounded(w * np.float32(factor)), rounded(w) * factor, rtol=1e-5)


def correlated(seed: int, size: int) -> np.ndarray:
    """Inputs [200, size] whose neighbors are correlated, like the pixels of a window."""
    return np.cumsum(np.random.default_rng(seed).normal(size=(200, size)), axis=1)


def test_uncorrelated_inputs_give_rounding_to_nearest() -> None:
    w = np.random.default_rng(0).normal(size=(3, 3, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(rounded(w, np.diag(np.arange(1.0, 37))), rounded(w))
    np.testing.assert_array_equal(rounded(w, np.zeros((36, 36))), rounded(w))


@settings(derandomize=True, deadline=None)
@given(st.integers(0, 100), st.integers(2, 40))
def test_gptq_rounding_has_at_most_the_output_error_of_rounding_to_nearest(
    seed: int, size: int
) -> None:
    w = np.random.default_rng(seed + 1).normal(size=(size, 6)).astype(np.float32)
    inputs = correlated(seed, size)
    moments = inputs.T @ inputs / len(inputs)
    minded, plain = rounded(w, moments), rounded(w)
    errors = [np.square(inputs @ (after - w)).mean() for after in (minded, plain)]
    assert errors[0] <= errors[1] * (1 + 1e-4)
    codes = minded / mse_scales(w)
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-5)
    assert np.abs(codes).max() <= QMAX + 1e-5


def test_gptq_rounding_of_many_weights_removes_most_of_the_output_error() -> None:
    w = np.random.default_rng(1).normal(size=(100, 20)).astype(np.float32)
    inputs = correlated(2, 100)
    minded, plain = rounded(w, inputs.T @ inputs), rounded(w)
    assert np.square(inputs @ (minded - w)).mean() < 0.2 * np.square(inputs @ (plain - w)).mean()


def test_gptq_rounding_keeps_zeros() -> None:
    rng = np.random.default_rng(0)
    w = rng.normal(size=(30, 8)).astype(np.float32) * (rng.random((30, 8)) < 0.4)
    inputs = correlated(0, 30)
    assert not rounded(w, inputs.T @ inputs)[w == 0].any()


@settings(derandomize=True, deadline=None)
@given(harms, st.floats(0, 400))
def test_spared_kernels_fit_the_budget_and_no_other_kernel_fits_in_the_rest(
    harm_and_size: dict[str, tuple[float, int]], largest: float
) -> None:
    mse = {name: h for name, (h, _) in harm_and_size.items()}
    sizes = {name: size for name, (_, size) in harm_and_size.items()}
    spared = most_sensitive(mse, sizes, largest)
    room = largest - sum(sizes[name] for name in spared)
    assert room >= 0
    assert all(sizes[name] > room for name in mse if name not in spared)


def test_kernels_are_spared_by_harm_per_weight() -> None:
    sizes = {"small": 10, "large": 100}
    assert most_sensitive({"small": 1.0, "large": 20.0}, sizes, 100) == ("large",)
    assert most_sensitive({"small": 1.0, "large": 9.0}, sizes, 100) == ("small",)
    assert most_sensitive({"small": 1.0, "large": 9.0}, sizes, 9) == ()
