"""Second moments of a kernel's inputs: how much errors in its weights, alone and together, change its outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from compress import backend
from compress.keras_models.layer_kinds import Kernel, kind_of
from compress.keras_models.layers import is_channels_last
from compress.keras_models.model import KerasModel

# A kernel whose channels have more weights is left to plain rounding: the moments of 4,096 take 134 MB.
MAX_INPUTS = 4096
BATCH = 50  # images


def input_moments(model: KerasModel, kernel: str, images: np.ndarray) -> np.ndarray | None:
    """Mean product of any two inputs of a kernel, float64 [n, n], n being the weights of one output channel.

    Inputs are in the order of the kernel's axes but the last. Of a layer called several times, those of the first call.

    Args:
      images: float32 [m, h, w, c] as the model sees them.

    Returns:
      None for a kernel other than that of Conv1D, Conv2D or Dense, in groups, causal, or too large.
    """
    keras = backend.keras()
    found = [layer for layer in model.keras.layers if layer.name == kernel]
    if not found or kind_of(found[0]).kernels != (Kernel(),):
        return None
    (layer,) = found
    size = int(np.prod(layer.kernel.shape[:-1]))
    if size > MAX_INPUTS or getattr(layer, "groups", 1) > 1:
        return None
    if getattr(layer, "padding", "valid") == "causal" or not is_channels_last(layer):
        return None
    before = keras.Model(model.keras.inputs[0], layer.input)
    total, count = np.zeros((size, size)), 0
    for start in range(0, len(images), BATCH):
        given = before(images[start : start + BATCH], training=False)
        rows = np.array(_windows(layer, given)).reshape(-1, size)
        total += rows.T @ rows
        count += len(rows)
    return total / count


def _windows(layer: Any, given: Any) -> Any:
    """The inputs that a kernel is multiplied by at each position, [..., n]; of a Dense layer, its input."""
    if not hasattr(layer, "kernel_size"):
        return given
    ops = backend.keras().ops
    one = (1,) if len(layer.kernel_size) == 1 else ()
    return ops.image.extract_patches(
        ops.expand_dims(given, 1) if one else given,
        size=(*one, *layer.kernel_size),
        strides=(*one, *layer.strides),
        dilation_rate=(*one, *layer.dilation_rate),
        padding=layer.padding,
    )
