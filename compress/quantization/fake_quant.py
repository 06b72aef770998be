"""Fake quantization: training rounds numbers as the int8 file will. Arithmetic on arrays and tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from compress import backend
from compress.keras_models.layer_kinds import Kernel

CODES = 255  # steps between the least and the greatest int8 code of an activation
QMAX = {4: 7, 8: 127}  # bits -> largest code of a weight; symmetric, so that zero is exact


def grid(low: Any, high: Any, array: Any = np) -> tuple[Any, Any]:
    """Scale of an int8 activation, and the number of its 256 codes that are below the code of zero.

    The range is widened to include zero, then moved by less than a step so that zero is a code.

    Args:
      array: the array library of `low` and `high`, numpy or `keras.ops`.

    >>> grid(np.float64(-1), np.float64(254))
    (np.float64(1.0), np.float64(1.0))
    """
    low, high = array.minimum(low, 0.0), array.maximum(high, 0.0)
    span = high - low
    scale = array.where(span > 0, span, 1.0) / CODES
    return scale, array.round(-low / scale)


def fake_quantized(x: Any, low: Any, high: Any) -> Any:
    """The tensor with each number rounded to the nearest code of an asymmetric int8 range.

    The gradient passes unchanged where x is in the range, and is zero outside (straight-through estimator, Jacob et al.
    2018, https://arxiv.org/abs/1712.05877).
    """
    ops = backend.keras().ops
    scale, below = grid(low, high, ops)
    inside = ops.clip(x, -below * scale, (CODES - below) * scale)
    return inside + ops.stop_gradient(ops.round(inside / scale) * scale - inside)


def fake_quantized_kernel(w: Any, kernel: Kernel) -> Any:
    """The kernel with each weight rounded to -127 to 127 steps of its channel; the gradient passes unchanged."""
    ops = backend.keras().ops
    largest = ops.max(ops.abs(w), axis=within_channels(kernel, len(w.shape)), keepdims=True)
    steps = ops.stop_gradient(ops.where(largest > 0, largest, 1.0) / QMAX[8])
    return w + ops.stop_gradient(ops.round(w / steps) * steps - w)


def within_channels(kernel: Kernel, rank: int) -> tuple[int, ...]:
    """The axes of a kernel along which its weights have the same step: the axes within an output channel.

    For a transposed convolution these are all axes, because the converter supports no per-channel steps for it.

    >>> within_channels(Kernel(), 4), within_channels(Kernel(depthwise=True), 4)
    ((0, 1, 2), (0, 1))
    """
    if kernel.outputs != -1:
        return tuple(range(rank))
    channels = {rank - 1, rank - 2} if kernel.depthwise else {rank - 1}
    return tuple(axis for axis in range(rank) if axis not in channels)


def largest_weights(w: np.ndarray, kernel: Kernel) -> np.ndarray:
    """The largest magnitude in each output channel, in a shape that broadcasts to the kernel; 1 for a channel of zeros.

    >>> largest_weights(np.array([[1.0, 0.0], [-3.0, 0.0]]), Kernel())
    array([[3., 1.]])
    """
    largest = np.abs(w).max(axis=within_channels(kernel, w.ndim), keepdims=True)
    return np.where(largest > 0, largest, 1)


def codes_of(w: np.ndarray, steps: np.ndarray, bits: int) -> np.ndarray:
    """Each weight as a whole number of steps, int8 in the kernel's shape; clipped to the largest code.

    >>> codes_of(np.array([0.26, -9.0]), np.array([0.1]), 4).tolist()
    [3, -7]
    """
    return np.clip(np.rint(w / steps), -QMAX[bits], QMAX[bits]).astype(np.int8)
