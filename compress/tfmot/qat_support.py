"""A check before any work that quantization-aware training supports every layer of a Keras 3 model."""

from __future__ import annotations

from typing import Any

from compress import backend
from compress.findings import CannotTreat, about_layer
from compress.keras_models.graph import Call, Graph, graph_of
from compress.keras_models.layer_kinds import kind_of
from compress.keras_models.layers import is_batchnorm

# Activations that layers with a kernel may have, and activations that only a separate layer can apply.
ACTIVATIONS = frozenset({"gelu", "linear", "relu", "sigmoid", "softmax", "tanh"})
ALONE = frozenset({"relu6", "silu", "swish"})


def check(model: Any) -> None:
    """Raise CannotTreat, with the layer, the reason and the rewrite that would help, if a layer must stay float.

    Args:
      model: a Keras 3 model that has a tf_keras twin.
    """
    graph = graph_of(model)
    for call in graph.calls:
        for rule in (_check_kind, _check_activation, _check_relu, _check_batchnorm):
            rule(graph, call)


def _check_kind(graph: Graph, call: Call) -> None:
    kind = kind_of(call.layer)
    if not kind.int8:
        way = kind.int8_way or "build the model without it"
        raise _refusal(call, "has no int8 form in training", way)


def _check_activation(graph: Graph, call: Call) -> None:
    kind = kind_of(call.layer)
    name = getattr(getattr(call.layer, "activation", None), "__name__", "linear")
    allowed = ACTIVATIONS if kind.int8_activation else frozenset({"linear"})
    if not kind.kernels:
        allowed = ACTIVATIONS | ALONE
    if name not in allowed:
        known = name in ACTIVATIONS | ALONE
        way = f"use Activation('{name}') after it" if known else "use relu or a layer for swish"
        raise _refusal(call, f"has activation {name}, which int8 training lacks here", way)


def _check_relu(graph: Graph, call: Call) -> None:
    layer = call.layer
    if not isinstance(layer, backend.keras().layers.ReLU):
        return
    if (
        layer.threshold
        or layer.max_value not in (None, 6)
        or (layer.max_value and layer.negative_slope)
    ):
        raise _refusal(
            call, "is neither max(x, 0) nor clipped at 6", "use ReLU(), ReLU(6) or LeakyReLU()"
        )


def _check_batchnorm(graph: Graph, call: Call) -> None:
    if not is_batchnorm(call.layer):
        return
    maker = graph.makers.get(id(call.inputs[0]))
    if maker is None:
        raise _refusal(
            call,
            "is the first layer: there is no layer to fold it into",
            "normalize the images before the model",
        )
    previous = f"'{maker.layer.name}' ({type(maker.layer).__name__})"
    if not kind_of(maker.layer).int8_norm:
        way = "put it between a convolution and the activation after that"
        raise _refusal(
            call, f"comes after {previous}, which it does not fold into", way, maker.layer
        )
    activation = maker.layer.activation.__name__
    if activation != "linear":
        way = f"build {maker.layer.name} without activation, and a layer for {activation} after the normalization"
        raise _refusal(
            call, f"comes after {previous} and its activation {activation}", way, maker.layer
        )
    if graph.sole_user(maker) is not call:
        way = "give the normalization a layer of its own that nothing else uses"
        why = f"is not the only user of {previous}, so it cannot be folded into that"
        raise _refusal(call, why, way, maker.layer)


def _refusal(call: Call, why: str, way: str, *others: Any) -> CannotTreat:
    """The error to raise about the layer of a call; `others` are layers that the reason names."""
    name, kind = call.layer.name, type(call.layer).__name__
    return CannotTreat(about_layer(name, kind, why, way, *(other.name for other in others)))
