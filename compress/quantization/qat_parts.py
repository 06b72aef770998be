"""What stands for a layer in the plain form that training for few bits takes."""

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
    """The name of the first of the two layers that stand for a SeparableConv2D; the second has that of the whole."""
    return f"{separable}_depthwise"


def function_of(layer: Any) -> str:
    """The name of a layer's activation; "linear" if it has none."""
    return getattr(getattr(layer, "activation", None), "__name__", "linear")


def activation(layer: Any, gates: Collection[str]) -> list[LayerSpec]:
    """The activation of a layer with a kernel as layers of their own; none if it has none.

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
    """The two convolutions of a SeparableConv2D."""
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
    """What scales channels, as a depthwise convolution of one pixel; of ones, if a normalization follows it."""
    layer, channels = call.layer, call.inputs[0].shape[-1]
    if not is_batchnorm(layer):
        return [_affine(layer.name, channels, layer.scale, layer.offset)]
    norm = LayerSpec(type(layer), layer.get_config(), layer.get_weights())
    return [_affine(f"{layer.name}_scale", channels, 1.0, 0.0), norm]


def hard_sigmoid(layer: Any, name: str, gates: Collection[str]) -> list[LayerSpec]:
    """min(max(x + 3, 0), 6) / 6, of which TFLite has no operator; the last layer has the name.

    Right after a kernel it is a factor and a shift that fold into it, as those of a BatchNormalization do, and a clip.
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
    """A depthwise convolution of one pixel: x * scale + shift, each a number or one for each channel."""
    weights = [
        np.resize(np.asarray(scale, np.float32), (1, 1, channels, 1)),
        np.resize(np.asarray(shift, np.float32), (channels,)),
    ]
    config = {"name": name, "kernel_size": 1, "trainable": False}
    return LayerSpec(backend.keras().layers.DepthwiseConv2D, config, weights)
