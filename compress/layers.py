"""The one table of which Keras layers have kernels."""

from __future__ import annotations

from typing import Any

# Keras 3 class name -> attributes that hold its kernels, in the order Keras makes them.
KERNELS: dict[str, tuple[str, ...]] = {
    "Conv1D": ("kernel",),
    "Conv2D": ("kernel",),
    "Conv2DTranspose": ("kernel",),
    "DepthwiseConv2D": ("kernel",),
    "SeparableConv2D": ("depthwise_kernel", "pointwise_kernel"),
    "Dense": ("kernel",),
}


def kernels(model: Any) -> dict[str, Any]:
    """Layer name -> kernel variable, for every kernel of a Keras 3 model in layer order.

    A layer with two kernels gives "name/depthwise_kernel" and "name/pointwise_kernel".
    """
    found: dict[str, Any] = {}
    for layer in model.layers:
        attributes = KERNELS.get(type(layer).__name__, ())
        for attribute in attributes:
            key = layer.name if len(attributes) == 1 else f"{layer.name}/{attribute}"
            found[key] = getattr(layer, attribute)
    return found


def gives_probabilities(model: Any) -> bool:
    """Whether a Keras model ends in a softmax; if not, its output is taken as logits."""
    last = model.layers[-1]
    activation = getattr(last, "activation", None)
    return type(last).__name__ == "Softmax" or getattr(activation, "__name__", "") == "softmax"
