"""Move a scale and a shift for every channel into the kernel before or after them: pure arithmetic."""

from __future__ import annotations

import numpy as np

from compress.keras_models.layer_kinds import Kernel

Affine = tuple[np.ndarray, np.ndarray]  # scale and shift, float64 [c]: x becomes scale * x + shift


def normalization(
    mean: np.ndarray,
    variance: np.ndarray,
    epsilon: float,
    gamma: np.ndarray | float = 1.0,
    beta: np.ndarray | float = 0.0,
) -> Affine:
    """The scale and shift of a trained BatchNormalization: gamma * (x - mean) / sqrt(variance + epsilon) + beta.

    >>> normalization(np.array([1.0]), np.array([3.0]), epsilon=1.0, gamma=np.array([4.0]))
    (array([2.]), array([-2.]))
    """
    scale = np.asarray(gamma, np.float64) / np.sqrt(np.asarray(variance, np.float64) + epsilon)
    shift = np.asarray(beta, np.float64) - np.asarray(mean, np.float64) * scale
    return scale, shift


def scaled_outputs(weights: np.ndarray, scale: np.ndarray, kernel: Kernel) -> np.ndarray:
    """The weights whose outputs are those of `weights` times `scale`, channel by channel.

    Args:
      weights: of the kernel; if the layer has several kernels, of the last one.
      scale: [output channels].
    """
    if kernel.depthwise:
        return weights * scale.reshape(weights.shape[-2:])
    return weights * _along(scale, kernel.outputs)


def scaled_inputs(weights: np.ndarray, scale: np.ndarray, kernel: Kernel) -> np.ndarray:
    """The weights whose outputs for x are those of `weights` for x times `scale`, channel by channel.

    Args:
      weights: of the kernel; if the layer has several kernels, of the first one.
      scale: [input channels]. A grouped convolution has fewer input channels in its kernel.
    """
    return weights * _by_input(scale, weights, kernel)


def added_by_shift(weights: np.ndarray, shift: np.ndarray, kernel: Kernel) -> np.ndarray:
    """The change of the outputs, away from the border, when `shift` is added to every input: [output channels].

    Args:
      weights, shift: see `scaled_inputs`; not of a transposed convolution, which sees fewer inputs at every border.

    >>> added_by_shift(np.ones((3, 3, 2, 1)), np.array([1.0, 10.0]), Kernel())
    array([99.])
    """
    added = weights * _by_input(shift, weights, kernel)
    outputs = 2 if kernel.depthwise else 1
    return added.sum(axis=tuple(range(added.ndim - outputs))).reshape(-1)


def _along(values: np.ndarray, axis: int) -> np.ndarray:
    """Values [n], reshaped to broadcast along the last axis (-1) or the one before it (-2)."""
    return values.reshape(-1, *[1] * (-1 - axis))


def _by_input(values: np.ndarray, weights: np.ndarray, kernel: Kernel) -> np.ndarray:
    """Values for each input channel, reshaped to broadcast over the weights.

    In the kernel [..., i, o] of a grouped convolution, each group of input channels has its own output channels.
    """
    groups = len(values) // weights.shape[kernel.inputs]
    if groups == 1:
        return _along(values, kernel.inputs)
    outputs = weights.shape[kernel.outputs]
    return np.repeat(values.reshape(groups, -1).T, outputs // groups, axis=1)
