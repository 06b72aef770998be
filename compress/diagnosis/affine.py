"""A scale and a shift for every channel, moved into the kernel before or after it: pure arithmetic."""

from __future__ import annotations

import numpy as np

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


def scaled_outputs(kernel: np.ndarray, scale: np.ndarray, kind: str) -> np.ndarray:
    """The kernel whose outputs are those of `kernel` times `scale`, channel by channel.

    Args:
      kernel: as the Keras layer `kind` has it; of a SeparableConv2D, its pointwise kernel.
      scale: [output channels].
    """
    if kind == "DepthwiseConv2D":  # [h, w, c, m]
        return kernel * scale.reshape(kernel.shape[2:])
    if kind == "Conv2DTranspose":  # [h, w, o, i]
        return kernel * scale[:, None]
    return kernel * scale


def scaled_inputs(kernel: np.ndarray, scale: np.ndarray, kind: str) -> np.ndarray:
    """The kernel that makes of x what `kernel` makes of x times `scale`, channel by channel.

    Args:
      kernel: as the Keras layer `kind` has it; of a SeparableConv2D, its depthwise kernel.
      scale: [input channels]. A grouped convolution has fewer input channels in its kernel.
    """
    if kind in ("DepthwiseConv2D", "SeparableConv2D"):  # [h, w, c, m]
        return kernel * scale[:, None]
    if kind == "Conv2DTranspose":  # [h, w, o, i]
        return kernel * scale
    return kernel * _by_output(scale, kernel)


def added_by_shift(kernel: np.ndarray, shift: np.ndarray, kind: str) -> np.ndarray:
    """What adding `shift` to every input adds to the outputs where the kernel sees no border: [output channels].

    Args:
      kernel, shift: see `scaled_inputs`; not of a Conv2DTranspose, whose every border sees less.

    >>> added_by_shift(np.ones((3, 3, 2, 1)), np.array([1.0, 10.0]), "Conv2D")
    array([99.])
    """
    if kind in ("DepthwiseConv2D", "SeparableConv2D"):
        return (kernel * shift[:, None]).sum(axis=(0, 1)).reshape(-1)
    return (kernel * _by_output(shift, kernel)).sum(axis=tuple(range(kernel.ndim - 1)))


def _by_output(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Per-input-channel values as [i of the kernel, o]: output channels come in as many groups as inputs do."""
    inputs, outputs = kernel.shape[-2:]
    groups = len(values) // inputs
    return np.repeat(values.reshape(groups, inputs).T, outputs // groups, axis=1)
