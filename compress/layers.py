"""The one table of which Keras layers have kernels."""

from __future__ import annotations

from typing import Any

# Keras 3 class name -> what follows the layer's name in the name of each kernel, and the attribute that holds it, in
# the order Keras makes them. A depthwise kernel is told by its name, for those who see names and arrays alone.
KERNELS: dict[str, dict[str, str]] = {
    "Conv1D": {"": "kernel"},
    "Conv2D": {"": "kernel"},
    "Conv2DTranspose": {"": "kernel"},
    "DepthwiseConv2D": {"/depthwise_kernel": "kernel"},
    "SeparableConv2D": {
        "/depthwise_kernel": "depthwise_kernel",
        "/pointwise_kernel": "pointwise_kernel",
    },
    "Dense": {"": "kernel"},
}


def kernel_names(layer: Any) -> dict[str, str]:
    """Kernel name -> attribute of a Keras 3 layer that holds it; empty if the layer has no kernel."""
    suffixes = KERNELS.get(type(layer).__name__, {})
    return {layer.name + suffix: attribute for suffix, attribute in suffixes.items()}


def kernels(model: Any) -> dict[str, Any]:
    """Kernel name -> kernel variable, for every kernel of a Keras 3 model in layer order.

    A kernel has its layer's name; depthwise and pointwise kernels are "name/depthwise_kernel" and
    "name/pointwise_kernel".
    """
    return {
        name: getattr(layer, attribute)
        for layer in model.layers
        for name, attribute in kernel_names(layer).items()
    }


def layer_of(kernel: str) -> str:
    """The name of the layer that a kernel is in.

    >>> layer_of("block1/pointwise_kernel"), layer_of("conv1a")
    ('block1', 'conv1a')
    """
    return kernel.partition("/")[0]


def is_depthwise(kernel: str) -> bool:
    """Whether a kernel, by its name, filters every channel apart.

    >>> is_depthwise("block1/depthwise_kernel"), is_depthwise("conv1a")
    (True, False)
    """
    return kernel.endswith("/depthwise_kernel")


def gives_probabilities(model: Any) -> bool:
    """Whether a Keras model ends in a softmax; if not, its output is taken as logits."""
    last = model.layers[-1]
    activation = getattr(last, "activation", None)
    return type(last).__name__ == "Softmax" or getattr(activation, "__name__", "") == "softmax"
