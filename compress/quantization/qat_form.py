"""The plain form of a Keras model, which quantization-aware training takes, and the outputs to round in it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from typing import Any

from compress import backend
from compress.findings import CannotTreat, about_layer, refuse_together
from compress.keras_models.graph import Call, Graph, graph_of
from compress.keras_models.layer_kinds import kind_of
from compress.keras_models.layers import is_batchnorm, is_channels_last, is_depthwise, kernel_names
from compress.keras_models.model import KerasModel
from compress.keras_models.rebuild import LayerSpec, rebuilt
from compress.quantization.qat_layers import layers
from compress.quantization.qat_parts import (
    activation,
    apart,
    depthwise_part,
    function_of,
    hard_sigmoid,
    separated,
)

# Activation -> the output range that the int8 specification fixes.
FIXED = {"sigmoid": (0.0, 255 / 256), "softmax": (0.0, 255 / 256), "tanh": (-1.0, 127 / 128)}


def plain_form(model: KerasModel) -> Any:
    """A Keras 3 model that computes the same with fewer kinds of layers; the model itself if nothing is to change.

    A SeparableConv2D becomes two convolutions. The activation of a layer with a kernel becomes a separate layer. A
    layer that scales or shifts channels becomes a depthwise 1x1 convolution, unless it is a BatchNormalization that
    folds into the layer before it.

    Raises:
      CannotTreat: a layer has no such form; the message says what to do instead.
    """
    graph = graph_of(model.keras)
    gates = _gates(graph)
    refuse_together(partial(_check, graph, gates, call) for call in graph.calls)
    instead = {}
    for call in graph.calls:
        layer = call.layer
        if len(kind_of(layer).kernels) == 2:
            instead[layer.name] = [*separated(layer), *activation(layer, gates)]
        elif kind_of(layer).kernels and activation(layer, gates):
            config = layer.get_config() | {"activation": "linear"}
            instead[layer.name] = [
                LayerSpec(type(layer), config, layer.get_weights()),
                *activation(layer, gates),
            ]
        elif kind_of(layer).affine == "rescaling" or (
            is_batchnorm(layer) and not _folds(graph, call)
        ):
            instead[layer.name] = apart(call)
        elif function_of(layer) == "hard_sigmoid":
            instead[layer.name] = hard_sigmoid(layer, layer.name, gates)
    return rebuilt(model.keras, instead) if instead else model.keras


def rounded_calls(graph: Graph) -> Iterator[Call]:
    """The calls of a plain form whose output is rounded to int8.

    Not rounded: an output that TFLite computes together with the next layer, one with the range of the layer's input,
    and probabilities.
    """
    for call in graph.calls:
        user = graph.sole_user(call)
        joined = user is not None and (
            (bool(kind_of(call.layer).kernels) and is_batchnorm(user.layer))
            or (kind_of(call.layer).fuses_relu and is_relu(user.layer))
            or isinstance(user.layer, layers().Clip)
        )
        if kind_of(call.layer).int8_range != "input" and not joined and not is_softmax(call.layer):
            yield call


def groups(graph: Graph) -> list[set[str]]:
    """Sets of names of inputs and layers of a plain form: outputs of one set share a range in an int8 file."""
    found: list[set[str]] = []
    for call in graph.calls:
        if kind_of(call.layer).int8_range == "common":
            group = {call.layer.name, *(_source(graph, tensor) for tensor in call.inputs)}
            met = [other for other in found if other & group]
            found = [other for other in found if other not in met] + [group.union(*met)]
    return found


def fixed_range(layer: Any) -> tuple[float, float] | None:
    """The output range that the int8 specification or the layer itself fixes; None if the range is free."""
    if isinstance(layer, layers().Clip):
        return (0.0, 1.0)
    return FIXED.get("softmax" if is_softmax(layer) else function_of(layer))


def is_relu(layer: Any) -> bool:
    """True if a layer is max(x, 0), clipped at 6 or not: TFLite computes such a layer together with the one before."""
    if isinstance(layer, backend.keras().layers.ReLU):
        return not layer.negative_slope and not layer.threshold and layer.max_value in (None, 6)
    return function_of(layer) in ("relu", "relu6")


def is_softmax(layer: Any) -> bool:
    """True if a layer gives probabilities. Training does not round them, as a rounded 0 has no logarithm."""
    return isinstance(layer, backend.keras().layers.Softmax) or function_of(layer) == "softmax"


def _source(graph: Graph, tensor: Any) -> str:
    """The name of the input or layer from which a tensor takes its codes."""
    while (maker := graph.makers.get(id(tensor))) and kind_of(maker.layer).int8_range == "input":
        tensor = maker.inputs[0]
    name: str = maker.layer.name if maker else tensor.name
    return name


def _check(graph: Graph, gates: Collection[str], call: Call) -> None:
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
        why, way = "is dilated, which no int8 kernel supports", "use strides"
    elif is_batchnorm(layer) and not _folds(graph, call) and len(layer.output.shape) != 4:
        why, way = (
            "does not directly follow a convolution or Dense",
            "put it right after one",
        )
    elif (
        function_of(layer) == "hard_sigmoid"
        and layer.name not in gates
        and len(layer.output.shape) != 4
    ):
        why, way = (
            "has a hard_sigmoid that is not applied to images, which has no int8 form in training",
            "put it right after a convolution or Dense, or use sigmoid",
        )
    if why:
        raise CannotTreat(about_layer(layer.name, kind, why, way))


def _folds(graph: Graph, call: Call) -> bool:
    """True if a BatchNormalization folds into the layer before it: a layer with a kernel that nothing else uses."""
    on_channels = call.layer.axis in (-1, len(call.inputs[0].shape) - 1)
    return on_channels and _follows_kernel(graph, call)


def _follows_kernel(graph: Graph, call: Call) -> bool:
    """True if a call is the only user of a layer without activation, into whose kernel a factor per channel folds."""
    maker = graph.makers.get(id(call.inputs[0]))
    if maker is None or graph.sole_user(maker) is not call:
        return False
    return _takes_factors(maker.layer) and function_of(maker.layer) == "linear"


def _takes_factors(layer: Any) -> bool:
    """True if a factor per channel folds into a layer: not into a transposed convolution, which has a single step."""
    kernels = kind_of(layer).kernels
    return bool(kernels) and all(kernel.outputs == -1 for kernel in kernels)


def _gates(graph: Graph) -> set[str]:
    """Names of the layers with a hard_sigmoid right after a kernel that share their range with no other layer."""
    joined = set[str]().union(*groups(graph))
    return {
        call.layer.name
        for call in graph.calls
        if function_of(call.layer) == "hard_sigmoid"
        and call.layer.name not in joined
        and (_takes_factors(call.layer) or _follows_kernel(graph, call))
    }


def plain_names(model: KerasModel) -> dict[str, str]:
    """Kernel name -> name of the layer of the plain form that has this kernel."""
    names = {}
    for layer in model.keras.layers:
        for name in kernel_names(layer):
            first = is_depthwise(name) and len(kind_of(layer).kernels) == 2
            names[name] = depthwise_part(layer.name) if first else layer.name
    return names
