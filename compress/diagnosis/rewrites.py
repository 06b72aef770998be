"""Rewrites of a model that keep its function. Each has a description and is applied to a copy."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from compress import backend
from compress.diagnosis.folding import into_a_convolution, into_next_kernel, into_previous_kernel
from compress.keras_models.graph import Call, Graph, graph_of
from compress.keras_models.layer_kinds import kind_of
from compress.keras_models.model import KerasModel
from compress.keras_models.rebuild import LayerSpec, Rewrite
from compress.quantization.qat_form import is_relu
from compress.tfmot import keras2_layers

# A final softmax stays in its layer: that is where training looks for it.
KEPT = ("linear", "softmax")


def rewrites(model: KerasModel) -> list[Rewrite]:
    """Every rewrite that the layers of a flat model allow, the simplest kind first."""
    return [rewrite for kind in rewrites_by_kind(model) for rewrite in kind]


def rewrites_by_kind(model: KerasModel) -> list[list[Rewrite]]:
    """Every rewrite that the layers of a flat model allow, grouped by kind, the simplest kind first."""
    graph = graph_of(model.keras)
    calls = [call for call in graph.calls if call.inputs]
    kinds: tuple[Callable[[Graph, Call], Rewrite | None], ...] = (
        renamed, left_out, into_a_hard_sigmoid, into_a_rescaling, activation_apart,
        into_previous_kernel, into_next_kernel, into_a_convolution,
    )  # fmt: skip
    inputs = [input_renamed(graph, image) for image in graph.inputs]
    found = [inputs, *([kind(graph, call) for call in calls] for kind in kinds)]
    # A shared layer has a call for each use, so its rewrite is found several times.
    return [list({r.what: r for r in kind if r}.values()) for kind in found]


def renamed(graph: Graph, call: Call) -> Rewrite | None:
    """Rename a layer whose name Keras 2 does not accept."""
    layer, new = call.layer, _plain(call.layer.name, graph)
    weights: list[Any] = getattr(layer, "get_weights", list)()
    spec = LayerSpec(type(layer), layer.get_config() | {"name": new}, weights)
    return _called(layer.name, spec) if new != layer.name else None


def input_renamed(graph: Graph, image: Any) -> Rewrite | None:
    """Rename an input of the model whose name Keras 2 does not accept."""
    new = _plain(image.name, graph)
    config = {"batch_shape": image.shape, "dtype": image.dtype, "name": new}
    spec = LayerSpec(backend.keras().layers.InputLayer, config)
    return _called(image.name, spec) if new != image.name else None


def _called(name: str, spec: LayerSpec) -> Rewrite:
    what = f"{name}: called {spec.config['name']}, a name that Keras 2 takes."
    return Rewrite(what, (name,), {name: (spec,)})


def _plain(name: str, graph: Graph) -> str:
    """The name if Keras 2 accepts it, otherwise a similar unused name."""
    if re.fullmatch(keras2_layers.NAME, name):
        return name
    plain = re.sub("[^A-Za-z0-9_.>-]", "_", name)
    return _unused(plain if re.match("[A-Za-z0-9.]", plain) else f"layer{plain}", graph)


def left_out(graph: Graph, call: Call) -> Rewrite | None:
    """Leave out a layer that acts only in training."""
    name, kind = call.layer.name, type(call.layer).__name__
    if not kind_of(call.layer).training_only:
        return None
    what = f"{name}: left out; a {kind} changes nothing outside training, where the task's recipe has its own."
    return Rewrite(what, (name,), {name: ()})


def into_a_hard_sigmoid(graph: Graph, call: Call) -> Rewrite | None:
    """Turn `ReLU(6)(x + 3) * (1 / 6)`, as in the gates of MobileNetV3, into one activation that stages can treat."""
    added = _with_a_number(call)
    relu6 = graph.sole_user(call)
    scaled = relu6 and graph.sole_user(relu6)
    if added is None or relu6 is None or scaled is None:
        return None
    if not is_relu(relu6.layer) or getattr(relu6.layer, "max_value", None) != 6:
        return None
    multiplied = _with_a_number(scaled)
    if added != (1, 3) or multiplied is None or not np.allclose(multiplied, (1 / 6, 0), 1e-6):
        return None
    names = tuple(each.layer.name for each in (call, relu6, scaled))
    config = {"activation": "hard_sigmoid", "name": names[-1]}
    spec = LayerSpec(backend.keras().layers.Activation, config)
    what = f"{names[0]}, {names[1]} and {names[2]}: one hard_sigmoid, which is what they compute."
    return Rewrite(what, names, {names[0]: (), names[1]: (), names[2]: (spec,)})


def into_a_rescaling(graph: Graph, call: Call) -> Rewrite | None:
    """Turn an operation with a number, such as `x + 3`, into a Rescaling."""
    name, found = call.layer.name, _with_a_number(call)
    if found is None:
        return None
    scale, offset = found
    (number,) = call.constants
    config = {"scale": float(scale), "offset": float(offset), "name": name}
    spec = LayerSpec(backend.keras().layers.Rescaling, config)
    what = f"{name}: a Rescaling in place of an operation with the number {number:.4g}."
    return Rewrite(what, (name,), {name: (spec,)})


def _with_a_number(call: Call) -> tuple[float, float] | None:
    """The scale and offset of an operation with a number; None for other layers and operations."""
    does = kind_of(call.layer).with_number
    operation = type(call.layer).__module__ == "keras.src.ops.numpy"
    if not (operation and does) or len(call.inputs) != 1 or len(call.constants) != 1:
        return None
    (number,) = call.constants
    if not isinstance(number, int | float):
        return None
    if does == "subtracts":
        return (-1, number) if call.arguments[0] is number else (1, -number)
    return (number, 0) if does == "multiplies" else (1, number)


def activation_apart(graph: Graph, call: Call) -> Rewrite | None:
    """Turn the activation of a convolution or Dense layer into a separate layer after it."""
    layer = call.layer
    if not kind_of(layer).kernels:
        return None
    config = layer.get_config()
    activation = config["activation"]
    if activation in KEPT:
        return None
    called = activation if isinstance(activation, str) else "activation"
    new = _unused(f"{layer.name}_{called}", graph)
    specs = (
        LayerSpec(type(layer), config | {"activation": "linear"}, layer.get_weights()),
        LayerSpec(backend.keras().layers.Activation, {"activation": activation, "name": new}),
    )
    what = f"{layer.name}: its {called} becomes a layer of its own, {new}."
    return Rewrite(what, (layer.name,), {layer.name: specs})


def _unused(name: str, graph: Graph) -> str:
    names = {call.layer.name for call in graph.calls} | {image.name for image in graph.inputs}
    candidate, number = name, 2
    while candidate in names:
        candidate, number = f"{name}_{number}", number + 1
    return candidate
