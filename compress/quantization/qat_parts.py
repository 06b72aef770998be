"""The layers that replace a layer in the plain form that quantization-aware training takes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from compress import backend
from compress.keras_models.graph import Call
from compress.keras_models.layers import is_batchnorm
from compress.keras_models.rebuild import LayerSpec
from compress.quantization.qat_layers import layers


def depthwise_part(separable: str) -> str:
    """The name of the first of the two layers that replace a SeparableConv2D; the second keeps the layer's name."""
    return f"{separable}_depthwise"


def function_of(layer: Any) -> str:
    """The name of a layer's activation; "linear" if it has none."""
    return getattr(getattr(layer, "activation", None), "__name__", "linear")


def activation(layer: Any, gates: Collection[str]) -> list[LayerSpec]:
    """The activation of a layer with a kernel, as separate layers; an empty list if it has no activation.

    Args:
      gates: names of the layers whose hard_sigmoid folds into the kernel before it.
    """
    config = layer.get_config()
    if function_of(layer) == "linear":
        return []
    name = f"{layer.name}_activation"
    if function_of(layer) == "hard_sigmoid":
        return hard_sigmoid(layer, name, gates)
    return [
        LayerSpec(
            backend.keras().layers.Activation, {"activation": config["activation"], "name": name}
        )
    ]


def separated(layer: Any) -> list[LayerSpec]:
    """The two convolutions that replace a SeparableConv2D."""
    k, config = backend.keras().layers, layer.get_config()
    shared = ("strides", "padding", "dilation_rate", "kernel_size", "depth_multiplier")
    depthwise = {o: config[o] for o in shared} | {
        "use_bias": False,
        "name": depthwise_part(layer.name),
    }
    pointwise = {
        "filters": config["filters"],
        "kernel_size": 1,
        "use_bias": layer.use_bias,
        "name": layer.name,
    }
    weights = layer.get_weights()
    return [
        LayerSpec(k.DepthwiseConv2D, depthwise, weights[:1]),
        LayerSpec(k.Conv2D, pointwise, weights[1:]),
    ]


def apart(call: Call) -> list[LayerSpec]:
    """A Rescaling as a depthwise 1x1 convolution; a BatchNormalization with such a convolution of ones before it."""
    layer, channels = call.layer, call.inputs[0].shape[-1]
    if not is_batchnorm(layer):
        return [_affine(layer.name, channels, layer.scale, layer.offset)]
    norm = LayerSpec(type(layer), layer.get_config(), layer.get_weights())
    return [_affine(f"{layer.name}_scale", channels, 1.0, 0.0), norm]


def hard_sigmoid(layer: Any, name: str, gates: Collection[str]) -> list[LayerSpec]:
    """Layers for min(max(x + 3, 0), 6) / 6, for which TFLite has no operator; the last layer is called `name`.

    Right after a kernel, they are a BatchNormalization, which folds into the kernel, and a clip.
    """
    channels = layer.output.shape[-1]
    if layer.name in gates:
        fixed = {"name": f"{name}_scale", "epsilon": 0.0, "trainable": False}
        values = [np.full(channels, v, np.float32) for v in (1 / 6, 0.5, 0.0, 1.0)]
        norm = LayerSpec(backend.keras().layers.BatchNormalization, fixed, values)
        return [norm, LayerSpec(layers().Clip, {"name": name})]
    relu6 = {"name": f"{name}_relu6", "max_value": 6.0}
    return [
        _affine(f"{name}_shift", channels, 1.0, 3.0),
        LayerSpec(backend.keras().layers.ReLU, relu6),
        _affine(name, channels, 1 / 6, 0.0),
    ]


def _affine(name: str, channels: int, scale: Any, shift: Any) -> LayerSpec:
    """A depthwise 1x1 convolution: x * scale + shift, each one number, or one number for each channel."""
    weights = [
        np.resize(np.asarray(scale, np.float32), (1, 1, channels, 1)),
        np.resize(np.asarray(shift, np.float32), (channels,)),
    ]
    config = {"name": name, "kernel_size": 1, "trainable": False}
    return LayerSpec(backend.keras().layers.DepthwiseConv2D, config, weights)
