"""A Keras model brought to the form that training for few bits takes, and what must be rounded in it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from compress import backend
from compress.findings import CannotTreat, about_layer, refuse_together
from compress.keras_models.graph import Call, Graph, graph_of
from compress.keras_models.layer_kinds import kind_of
from compress.keras_models.layers import is_batchnorm, is_channels_last, is_depthwise, kernel_names
from compress.keras_models.model import KerasModel
from compress.keras_models.rebuild import LayerSpec, rebuilt

# Functions whose outputs have a range that the int8 specification fixes.
FIXED = {"sigmoid": (0.0, 255 / 256), "softmax": (0.0, 255 / 256), "tanh": (-1.0, 127 / 128)}


def depthwise_part(separable: str) -> str:
    """The name of the first of the two layers that stand for a SeparableConv2D; the second has that of the whole."""
    return f"{separable}_depthwise"


def plain_form(model: KerasModel) -> Any:
    """A Keras 3 model that computes the same and is made of fewer kinds of layers: `model` itself if it is already.

    A SeparableConv2D is two convolutions, an activation of a layer with a kernel is a layer of its own, and what scales
    or shifts channels anywhere but right after such a layer is a depthwise convolution of one pixel.

    Raises:
      CannotTreat: a layer has no such form; the sentence says what to do instead.
    """
    graph = graph_of(model.keras)
    refuse_together(partial(_check, graph, call) for call in graph.calls)
    instead = {}
    for call in graph.calls:
        layer = call.layer
        if len(kind_of(layer).kernels) == 2:
            instead[layer.name] = [*_separated(layer), *_activation(layer)]
        elif kind_of(layer).kernels and _activation(layer):
            config = layer.get_config() | {"activation": "linear"}
            instead[layer.name] = [
                LayerSpec(type(layer), config, layer.get_weights()),
                *_activation(layer),
            ]
        elif kind_of(layer).affine == "rescaling" or (
            is_batchnorm(layer) and not _folds(graph, call)
        ):
            instead[layer.name] = _apart(call)
        elif _function(layer) == "hard_sigmoid":
            instead[layer.name] = _hard_sigmoid(layer.name, layer.output.shape[-1])
    return rebuilt(model.keras, instead) if instead else model.keras


def rounded_calls(graph: Graph) -> Iterator[Call]:
    """The calls of a plain form whose output is rounded to int8: not where TFLite computes the next layer with them."""
    for call in graph.calls:
        user = graph.sole_user(call)
        joined = user is not None and (
            (bool(kind_of(call.layer).kernels) and is_batchnorm(user.layer))
            or (kind_of(call.layer).fuses_relu and is_relu(user.layer))
        )
        if kind_of(call.layer).int8_range != "input" and not joined and not is_softmax(call.layer):
            yield call


def groups(graph: Graph) -> list[set[str]]:
    """Names of the inputs and layers of a plain form whose outputs have one range together in an int8 file."""
    found: list[set[str]] = []
    for call in graph.calls:
        if kind_of(call.layer).int8_range == "common":
            group = {call.layer.name, *(_source(graph, tensor) for tensor in call.inputs)}
            met = [other for other in found if other & group]
            found = [other for other in found if other not in met] + [group.union(*met)]
    return found


def fixed_range(layer: Any) -> tuple[float, float] | None:
    """The range that the int8 specification fixes for what a layer gives, if it does."""
    return FIXED.get("softmax" if is_softmax(layer) else _function(layer))


def is_relu(layer: Any) -> bool:
    """Whether a layer is max(x, 0), clipped at 6 or not: what TFLite computes together with the layer before it."""
    if isinstance(layer, backend.keras().layers.ReLU):
        return not layer.negative_slope and not layer.threshold and layer.max_value in (None, 6)
    return _function(layer) in ("relu", "relu6")


def is_softmax(layer: Any) -> bool:
    """Whether a layer gives probabilities. In training they are not rounded: a rounded 0 has no logarithm."""
    return isinstance(layer, backend.keras().layers.Softmax) or _function(layer) == "softmax"


def _source(graph: Graph, tensor: Any) -> str:
    """The input or the layer that a tensor has its codes from."""
    while (maker := graph.makers.get(id(tensor))) and kind_of(maker.layer).int8_range == "input":
        tensor = maker.inputs[0]
    name: str = maker.layer.name if maker else tensor.name
    return name


def _check(graph: Graph, call: Call) -> None:
    layer, kind = call.layer, type(call.layer).__name__
    why = way = ""
    if kind_of(layer).int8_range is None:
        why, way = (
            "has no int8 form in training",
            kind_of(layer).int8_way or "build the model without it",
        )
    elif len(call.outputs) != 1 or graph.calls_of(layer) > 1:
        why, way = "is called several times", "give each call a layer of its own"
    elif call.constants and not isinstance(layer, backend.keras().layers.Layer):
        why, way = "computes with a constant", "use a Rescaling layer"
    elif not is_channels_last(layer):
        why, way = (
            "has channels first, which TFLite does not compute",
            "build it with channels last",
        )
    elif getattr(layer, "padding", "") == "causal":
        why, way = "has causal padding", "pad with a ZeroPadding1D and use padding valid"
    elif kind_of(layer).applied_by == "conv_transpose" and max(layer.dilation_rate) > 1:
        why, way = "is dilated, which no int8 kernel is", "use strides"
    elif is_batchnorm(layer) and not _folds(graph, call) and len(layer.output.shape) != 4:
        why, way = (
            "normalizes what no convolution or Dense gives directly",
            "put it right after one",
        )
    elif _function(layer) == "hard_sigmoid" and len(layer.output.shape) != 4:
        why, way = (
            "has a hard_sigmoid that is not of images, which has no int8 form in training",
            "use sigmoid, or a Conv2D of one pixel in place of the Dense",
        )
    if why:
        raise CannotTreat(about_layer(layer.name, kind, why, way))


def _folds(graph: Graph, call: Call) -> bool:
    """Whether a BatchNormalization follows a layer with a kernel directly, and nothing else uses that layer."""
    maker = graph.makers.get(id(call.inputs[0]))
    if maker is None or graph.sole_user(maker) is not call:
        return False
    on_channels = call.layer.axis in (-1, len(call.inputs[0].shape) - 1)
    # A transposed convolution has one step for all channels, into which no factor of a channel folds.
    by_channel = all(kernel.outputs == -1 for kernel in kind_of(maker.layer).kernels)
    kernel = bool(kind_of(maker.layer).kernels) and by_channel
    return on_channels and kernel and not _activation(maker.layer)


def _function(layer: Any) -> str:
    return getattr(getattr(layer, "activation", None), "__name__", "linear")


def _activation(layer: Any) -> list[LayerSpec]:
    """The activation of a layer with a kernel as a layer of its own; none if it has none."""
    config = layer.get_config()
    if _function(layer) == "linear":
        return []
    name = f"{layer.name}_activation"
    if _function(layer) == "hard_sigmoid":
        return _hard_sigmoid(name, layer.output.shape[-1])
    return [
        LayerSpec(
            backend.keras().layers.Activation, {"activation": config["activation"], "name": name}
        )
    ]


def _separated(layer: Any) -> list[LayerSpec]:
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


def _apart(call: Call) -> list[LayerSpec]:
    """What scales channels, as a depthwise convolution of one pixel; of ones, if a normalization follows it."""
    layer, channels = call.layer, call.inputs[0].shape[-1]
    if not is_batchnorm(layer):
        return [_affine(layer.name, channels, layer.scale, layer.offset)]
    norm = LayerSpec(type(layer), layer.get_config(), layer.get_weights())
    return [_affine(f"{layer.name}_scale", channels, 1.0, 0.0), norm]


def _hard_sigmoid(name: str, channels: int) -> list[LayerSpec]:
    """min(max(x + 3, 0), 6) / 6, of which TFLite has no operator; the last layer has the name."""
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


def plain_names(model: KerasModel) -> dict[str, str]:
    """Kernel name -> the layer of the plain form that has this kernel."""
    names = {}
    for layer in model.keras.layers:
        for name in kernel_names(layer):
            first = is_depthwise(name) and len(kind_of(layer).kernels) == 2
            names[name] = depthwise_part(layer.name) if first else layer.name
    return names
