"""Rebuild a Keras model from its calls: flatten the models inside it, and replace layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compress import backend
from compress.keras_models.graph import Graph, graph_of, is_readable
from compress.keras_models.layers import copy_of, give_weights
from compress.keras_models.model import KerasModel


@dataclass(frozen=True)
class LayerSpec:
    """A layer to create: its class, its configuration with its name, and its weights in Keras's order."""

    cls: type
    config: Mapping[str, Any]
    weights: Sequence[np.ndarray] = ()


def rebuilt(model: Any, instead: Mapping[str, Sequence[LayerSpec]]) -> Any:
    """A functional model of copies of all layers, including those of models inside the model, with the same weights.

    Args:
      instead: layer name -> the layers that replace it, called one after another. An empty sequence removes the layer.
        The first replacement of an input must be an InputLayer.
    """
    keras = backend.keras()
    graph = graph_of(model)
    own = {id(c.layer): c.layer.name for c in graph.calls if not isinstance(c.layer, keras.Model)}
    names = {t.name for t in graph.inputs} | set(own.values())
    graphs: dict[int, Graph] = {}
    copies: dict[int, list[tuple[Any, Sequence[np.ndarray]]]] = {}

    def copies_of(layer: Any, prefix: str) -> list[tuple[Any, Sequence[np.ndarray]]]:
        if layer.name in instead:
            specs: Any = instead[layer.name]
            return [(spec.cls.from_config(dict(spec.config)), spec.weights) for spec in specs]
        weights: list[np.ndarray] = getattr(layer, "get_weights", list)()
        name = layer.name if id(layer) in own else _unused(layer.name, prefix, names)
        return [(copy_of(layer, name), weights)]

    def run(graph: Graph, inputs: Sequence[Any], prefix: str) -> Any:
        # Each model has its own table, because two models may have been built on the same tensors.
        tensors = {id(t): g for t, g in zip(graph.inputs, inputs, strict=True)}
        for call in graph.calls:
            args, kwargs = keras.tree.map_structure(
                lambda t: tensors.get(id(t), t), (call.args, dict(call.kwargs))
            )
            layer = call.layer
            if isinstance(layer, keras.Model):
                inner = graphs.setdefault(id(layer), graph_of(layer))
                value = run(inner, keras.tree.flatten(args), f"{prefix}{layer.name}_")
            else:
                if id(layer) not in copies:
                    copies[id(layer)] = copies_of(layer, prefix)
                # The first argument of an operation may be a number.
                value = tensors.get(id(call.inputs[0])) if call.inputs else args[0]
                for number, (copy, _) in enumerate(copies[id(layer)]):
                    # A layer of another class takes other keyword arguments, and no mask.
                    same_class = number == 0 and type(copy) is type(layer)
                    value = copy(*args, **kwargs) if same_class else copy(value)
            tensors.update(zip(map(id, call.outputs), keras.tree.flatten(value), strict=True))
        return keras.tree.map_structure(lambda t: tensors[id(t)], graph.outputs)

    flat_inputs = []
    for t in graph.inputs:
        config = {"batch_shape": t.shape, "dtype": t.dtype, "name": t.name}
        flat_inputs.append(
            keras.Input(**(instead[t.name][0].config if t.name in instead else config))
        )
    inputs = keras.tree.pack_sequence_as(graph.takes, flat_inputs)
    seen = list(flat_inputs)  # the inputs, or the outputs of layers put after them
    for place, t in enumerate(graph.inputs):
        specs: Any = instead.get(t.name, ())[1:]
        copies[id(t)] = [(spec.cls.from_config(dict(spec.config)), spec.weights) for spec in specs]
        for copy, _ in copies[id(t)]:
            seen[place] = copy(seen[place])
    result = keras.Model(inputs, run(graph, seen, ""), name=model.name)
    for copy, weights in (pair for pairs in copies.values() for pair in pairs):
        if len(weights):
            give_weights(copy, weights)
    return result


@dataclass(frozen=True)
class Rewrite:
    """A replacement of layers that does not change what a flat model computes."""

    what: str  # a sentence
    touches: tuple[str, ...]  # names of the layers that it changes
    instead: Mapping[str, Sequence[LayerSpec]]

    def applied(self, model: KerasModel) -> KerasModel:
        """A copy of `model` with the layers replaced."""
        return KerasModel(rebuilt(model.keras, self.instead))


def flattened(model: KerasModel) -> tuple[KerasModel, list[str]]:
    """The model with the layers of its inner models as its own layers, and a sentence for each inner model.

    A model without inner models is returned unchanged.
    """
    keras = backend.keras()
    inner = [m for m in model.keras.layers if isinstance(m, keras.Model)]
    if not inner or not is_readable(model.keras):
        return model, []
    notes = [
        f"'{m.name}' is a model inside the model: its {len(m.layers)} layers are taken as layers of the model itself."
        for m in inner
    ]
    return KerasModel(rebuilt(model.keras, {})), notes


def _unused(name: str, prefix: str, names: set[str]) -> str:
    """The first of `name`, `prefix + name` and numbered names that is not in `names`. It is added to `names`."""
    candidate, number = (name if name not in names else prefix + name), 2
    while candidate in names:
        candidate, number = f"{prefix}{name}_{number}", number + 1
    names.add(candidate)
    return candidate
