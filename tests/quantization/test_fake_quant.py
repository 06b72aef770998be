"""Fake quantization: the grid of the int8 specification, and gradients that pass inside its range."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compress import backend
from compress.keras_models.layer_kinds import Kernel
from compress.quantization import lsq
from compress.quantization.fake_quant import (
    codes_of,
    fake_quantized,
    fake_quantized_kernel,
    grid,
    largest_weights,
    within_channels,
)


def gradients(
    function: Any, *values: Any, upstream: Any = None
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The value of a function of float32 tensors, and the gradients of its sum, weighted by `upstream`."""
    tf = backend.tensorflow()
    tensors = [tf.constant(np.asarray(v, np.float32)) for v in values]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        result = function(*tensors)
        total = tf.reduce_sum(
            result * (1.0 if upstream is None else np.asarray(upstream, np.float32))
        )
    return result.numpy(), [g.numpy() for g in tape.gradient(total, tensors)]


def test_activation_is_rounded_in_its_range_and_clipped_outside_it() -> None:
    x = [-2.0, -1.0, 0.4, 0.6, 253.7, 300.0]
    value, (gradient,) = gradients(lambda x: fake_quantized(x, -1.0, 254.0), x)
    np.testing.assert_allclose(value, [-1, -1, 0, 1, 254, 254], atol=1e-5)
    np.testing.assert_array_equal(gradient[[0, 2, 3, 4, 5]], [0, 1, 1, 1, 0])


@pytest.mark.parametrize(("low", "high"), [(-0.3, 2.0), (0.5, 2.0), (-2.0, -0.5), (0.0, 0.0)])
def test_every_range_represents_zero_exactly(low: float, high: float) -> None:
    scale, below = grid(np.float64(low), np.float64(high))
    assert scale > 0
    assert 0 <= below <= 255
    assert below == round(below)
    assert fake_quantized(np.float32([0.0]), low, high).numpy() == [0.0]


def test_range_is_moved_by_at_most_half_a_step() -> None:
    scale, below = grid(np.float64(-0.3), np.float64(2.0))
    assert abs(-below * scale + 0.3) <= scale / 2
    assert abs((255 - below) * scale - 2.0) <= scale / 2


def test_kernel_is_rounded_per_output_channel_and_its_gradient_passes_unchanged() -> None:
    w = np.array([[127.0, 1.27], [63.4, 0.0], [-0.6, -0.634]])
    value, (gradient,) = gradients(lambda w: fake_quantized_kernel(w, Kernel()), w)
    np.testing.assert_allclose(value, [[127, 1.27], [63, 0], [-1, -0.63]], atol=1e-5)
    np.testing.assert_array_equal(gradient, np.ones((3, 2)))


def test_channels_of_a_depthwise_kernel_span_its_last_two_axes() -> None:
    depthwise = Kernel(depthwise=True)
    w = np.arange(12.0).reshape(1, 2, 3, 2)
    np.testing.assert_array_equal(largest_weights(w, depthwise).ravel(), [6, 7, 8, 9, 10, 11])
    assert within_channels(Kernel(outputs=-2), 4) == (0, 1, 2, 3)


def test_gradients_of_lsq_match_the_equations_of_the_paper() -> None:
    """Equations 3 to 5 of Esser et al. 2020 and the factor of section 2.2, computed with a loop over weights."""
    rng = np.random.default_rng(0)
    w, upstream = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 4, 5))
    steps = rng.uniform(0.05, 0.3, size=(1, 1, 1, 5))
    w[0, 0, 0, 0], w[0, 0, 1, 0] = 9.0, -9.0  # beyond the grid on both sides
    _, (of_w, of_steps) = gradients(lsq.fake_quantized, w, steps, upstream=upstream)
    expected = np.zeros(5)
    for (a, b, c, o), weight in np.ndenumerate(w):
        q = weight / steps[0, 0, 0, o]
        inside = -7 < q < 7
        expected[o] += upstream[a, b, c, o] * (round(q) - q if inside else 7 * np.sign(q))
        passed = upstream[a, b, c, o] if inside else 0.0
        assert of_w[a, b, c, o] == pytest.approx(passed, rel=1e-5), (q, inside)
    np.testing.assert_allclose(of_steps.ravel(), expected / np.sqrt(7 * 2 * 3 * 4), rtol=1e-4)


def test_lsq_rounds_to_at_most_seven_steps() -> None:
    value, _ = gradients(lsq.fake_quantized, [[0.26], [-0.04], [9.0], [-9.0]], [[0.1]])
    np.testing.assert_allclose(value.ravel(), [0.3, 0, 0.7, -0.7], atol=1e-6)
    assert codes_of(np.array([0.26, -0.04, 9.0, -9.0]), np.array(0.1), 4).tolist() == [3, 0, 7, -7]
