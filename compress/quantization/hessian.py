"""Second moments of a kernel's inputs, which say how much errors in the kernel's weights change its outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from compress import backend
from compress.keras_models.layer_kinds import Kernel, kind_of
from compress.keras_models.layers import is_channels_last
from compress.keras_models.model import KerasModel

# A kernel with more weights per channel is rounded to the nearest steps: moments of 4,096 weights take 134 MB.
MAX_INPUTS = 4096
BATCH = 50  # images


def input_moments(model: KerasModel, kernel: str, images: np.ndarray) -> np.ndarray | None:
    """Mean product of each two inputs of a kernel, float64 [n, n]; n is the number of weights of one output channel.

    Inputs are in the order of the kernel's axes without the last axis. If a layer is called several times, only the
    first call counts.

    Args:
      images: float32 [m, h, w, c] as the model sees them.

    Returns:
      None unless the layer is a Conv1D, Conv2D or Dense. Also None for a layer with groups, causal padding or channels
      first, or with more than `MAX_INPUTS` inputs.
    """
    keras = backend.keras()
    layers = [layer for layer in model.keras.layers if layer.name == kernel]
    if not layers or kind_of(layers[0]).kernels != (Kernel(),):
        return None
    (layer,) = layers
    size = int(np.prod(layer.kernel.shape[:-1]))
    if size > MAX_INPUTS or getattr(layer, "groups", 1) > 1:
        return None
    if getattr(layer, "padding", "valid") == "causal" or not is_channels_last(layer):
        return None
    before = keras.Model(model.keras.inputs[0], layer.input)
    total, count = np.zeros((size, size)), 0
    for start in range(0, len(images), BATCH):
        inputs = before(images[start : start + BATCH], training=False)
        rows = np.array(_windows(layer, inputs)).reshape(-1, size)
        total += rows.T @ rows
        count += len(rows)
    return total / count


def _windows(layer: Any, inputs: Any) -> Any:
    """The inputs of a kernel at each position, [..., n]; for a Dense layer, the layer's inputs unchanged."""
    if not hasattr(layer, "kernel_size"):
        return inputs
    ops = backend.keras().ops
    height = (1,) if len(layer.kernel_size) == 1 else ()
    return ops.image.extract_patches(
        ops.expand_dims(inputs, 1) if height else inputs,
        size=(*height, *layer.kernel_size),
        strides=(*height, *layer.strides),
        dilation_rate=(*height, *layer.dilation_rate),
        padding=layer.padding,
    )
