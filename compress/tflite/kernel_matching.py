"""Match each kernel of an exported file to its Keras layer. Export loses names, so the weights are compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# A wrong kernel reaches this only with one to three weights per channel, and then the right kernel reaches 1.
_LEAST_LIKENESS = 0.5


@dataclass(frozen=True, eq=False)
class StoredKernel:
    """A kernel from a `.tflite` file: integers or floats in Keras axis order, in which 0 means a zero weight."""

    name: str  # name of the tensor
    operator: str
    dtype: str  # as stored: "float32", "float16", "int8", "int4"
    values: np.ndarray
    channel_axes: tuple[int, ...]  # axes of the output channels


def match(
    stored: Sequence[StoredKernel], keras_kernels: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Layer name -> values of the most similar stored kernel. Each stored kernel is used at most once.

    If kernels are equally similar, the first in execution order goes to the first layer.

    Raises:
      ValueError: no kernel is left for a layer, or the layer has weights that are not finite. The message names it.
    """
    for name, kernel in keras_kernels.items():
        if not np.isfinite(kernel).all():
            raise ValueError(
                f"layer {name!r} has NaN or infinite weights: its training may have diverged, "
                "try a lower learning rate."
            )
    pairs = [
        (-round(score, 6), layer, place)
        for layer, kernel in enumerate(keras_kernels.values())
        for place, candidate in enumerate(stored)
        if _same_shape(kernel.shape, candidate)
        and np.isfinite(candidate.values).all()
        and (score := likeness(kernel, candidate)) >= _LEAST_LIKENESS
    ]
    chosen: dict[int, int] = {}
    for _, layer, place in sorted(pairs):
        if layer not in chosen and place not in chosen.values():
            chosen[layer] = place
    for layer, name in enumerate(keras_kernels):
        if layer not in chosen:
            raise ValueError(
                f"the TFLite file stores no kernel for layer {name!r} of shape "
                f"{list(keras_kernels[name].shape)}: was it exported from this model?"
            )
    return {
        name: stored[chosen[layer]].values.reshape(kernel.shape)
        for layer, (name, kernel) in enumerate(keras_kernels.items())
    }


def likeness(kernel: np.ndarray, stored: StoredKernel) -> float:
    """Similarity, from 0 to 1, of a Keras kernel and a stored kernel, up to one factor per output channel.

    Folded BatchNormalization and quantization scales are such factors, of either sign. The similarity is the mean of
    |cosine| over channels. A channel that is zero in both counts 1, a channel that is zero only in Keras counts 0. A
    channel that is zero only in the file does not count, because its factor is 0.
    """
    ours = _by_channel(kernel.reshape(stored.values.shape), stored.channel_axes)
    theirs = _by_channel(stored.values, stored.channel_axes)
    lengths = np.linalg.norm(ours, axis=0), np.linalg.norm(theirs, axis=0)
    both = (lengths[0] > 0) & (lengths[1] > 0)
    cosines = np.zeros(ours.shape[1])
    cosines[both] = np.abs((ours * theirs).sum(axis=0))[both] / (lengths[0] * lengths[1])[both]
    cosines[(lengths[0] == 0) & (lengths[1] == 0)] = 1
    counted = (lengths[1] > 0) | (lengths[0] == 0)
    return float(cosines[counted].mean()) if counted.any() else _LEAST_LIKENESS


def _by_channel(values: np.ndarray, channel_axes: tuple[int, ...]) -> np.ndarray:
    """The values as float64 [values per channel, channels]."""
    last = range(values.ndim - len(channel_axes), values.ndim)
    moved = np.moveaxis(values.astype(np.float64), channel_axes, tuple(last))
    return moved.reshape(-1, math.prod(values.shape[a] for a in channel_axes))


def _same_shape(shape: tuple[int, ...], stored: StoredKernel) -> bool:
    """True if the shapes fit. Axes of length 1 may differ, and a grouped Conv2D may be stored as depthwise."""
    h_w_c_m = stored.values.shape
    if stored.operator == "DEPTHWISE_CONV_2D" and shape == (
        *h_w_c_m[:2],
        1,
        math.prod(h_w_c_m[2:]),
    ):
        return True
    return [n for n in shape if n > 1] == [n for n in h_w_c_m if n > 1]
