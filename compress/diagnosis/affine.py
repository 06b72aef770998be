"""A scale and a shift for every channel, moved into the kernel before or after it: pure arithmetic."""

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
    """What a BatchNormalization does once trained: gamma * (x - mean) / sqrt(variance + epsilon) + beta.

    >>> normalization(np.array([1.0]), np.array([3.0]), epsilon=1.0, gamma=np.array([4.0]))
    (array([2.]), array([-2.]))
    """
    scale = np.asarray(gamma, np.float64) / np.sqrt(np.asarray(variance, np.float64) + epsilon)
    shift = np.asarray(beta, np.float64) - np.asarray(mean, np.float64) * scale
    return scale, shift


def scaled_outputs(weights: np.ndarray, scale: np.ndarray, kernel: Kernel) -> np.ndarray:
    """The weights whose outputs are those of `weights` times `scale`, channel by channel.

    Args:
      weights: of the kernel; of a layer with several, of the last.
      scale: [output channels].
    """
    if kernel.depthwise:
        return weights * scale.reshape(weights.shape[-2:])
    return weights * _along(scale, kernel.outputs)


def scaled_inputs(weights: np.ndarray, scale: np.ndarray, kernel: Kernel) -> np.ndarray:
    """The weights that give for x what `weights` give for x times `scale`, channel by channel.

    Args:
      weights: of the kernel; of a layer with several, of the first.
      scale: [input channels]. A grouped convolution has fewer input channels in its kernel.
    """
    return weights * _by_input(scale, weights, kernel)


def added_by_shift(weights: np.ndarray, shift: np.ndarray, kernel: Kernel) -> np.ndarray:
    """What adding `shift` to every input adds to the outputs where the kernel sees no border: [output channels].

    Args:
      weights, shift: see `scaled_inputs`; not of a transposed convolution, whose every border sees less.

    >>> added_by_shift(np.ones((3, 3, 2, 1)), np.array([1.0, 10.0]), Kernel())
    array([99.])
    """
    added = weights * _by_input(shift, weights, kernel)
    outputs = 2 if kernel.depthwise else 1
    return added.sum(axis=tuple(range(added.ndim - outputs))).reshape(-1)


def _along(values: np.ndarray, axis: int) -> np.ndarray:
    """Values [n] reshaped to broadcast along an axis that is counted from the last, -1 or -2."""
    return values.reshape(-1, *[1] * (-1 - axis))


def _by_input(values: np.ndarray, weights: np.ndarray, kernel: Kernel) -> np.ndarray:
    """Per-input-channel values, reshaped to broadcast over the weights.

    A grouped convolution has as many groups of output channels as of inputs in its kernel [..., i, o].
    """
    groups = len(values) // weights.shape[kernel.inputs]
    if groups == 1:
        return _along(values, kernel.inputs)
    outputs = weights.shape[kernel.outputs]
    return np.repeat(values.reshape(groups, -1).T, outputs // groups, axis=1)
