"""The calls that a Keras model is made of, and the model rebuilt from them: flat, and with layers exchanged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from compress import backend
from compress.layers import copy_of, give_weights
from compress.model import KerasModel


@dataclass(frozen=True)
class Piece:
    """A layer to be made: its class, its configuration with its name, and its weights in Keras's order."""

    cls: type
    config: Mapping[str, Any]
    weights: Sequence[np.ndarray] = ()


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer, by tensors that only stand for values."""

    layer: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: list[Any]

    @property
    def inputs(self) -> list[Any]:
        """The tensors among the arguments, in order."""
        keras = backend.keras()
        given = keras.tree.flatten((self.args, dict(self.kwargs)))
        return [t for t in given if isinstance(t, keras.KerasTensor)]


@dataclass(frozen=True, eq=False)
class Graph:
    """Every call that a model makes, in an order in which they can be made, and what goes in and out."""

    inputs: list[Any]
    takes: Any  # the same, as lists or dicts of them
    outputs: Any
    calls: list[Call]

    @cached_property
    def users(self) -> dict[int, list[Call]]:
        """id of a tensor -> the calls that take it."""
        found: dict[int, list[Call]] = {}
        for call in self.calls:
            for tensor in call.inputs:
                found.setdefault(id(tensor), []).append(call)
        return found

    @cached_property
    def makers(self) -> dict[int, Call]:
        """id of a tensor -> the call that gives it; none for what goes into the model."""
        return {id(tensor): call for call in self.calls for tensor in call.outputs}

    def calls_of(self, layer: Any) -> int:
        """How often the model calls a layer."""
        return sum(call.layer is layer for call in self.calls)

    def sole_user(self, call: Call) -> Call | None:
        """The one call that alone takes what `call` gives, if it takes nothing else and both layers are called once."""
        (tensor, *more), users = call.outputs, self.users.get(id(call.outputs[0]), [])
        given_out = any(tensor is t for t in backend.keras().tree.flatten(self.outputs))
        if more or given_out or len(users) != 1 or len(users[0].inputs) != 1:
            return None
        once = self.calls_of(call.layer) == self.calls_of(users[0].layer) == 1
        return users[0] if once else None


def is_readable(model: Any) -> bool:
    """Whether a Keras model says how its layers are called: Sequential or functional, and built."""
    keras = backend.keras()
    functional = type(model).__name__ == "Functional" and type(model).__module__.startswith(
        "keras."
    )
    return bool((type(model) is keras.Sequential and model.built) or functional)


def check_readable(model: Any) -> None:
    """Raise ValueError, with the way out, unless `is_readable(model)`."""
    if type(model) is backend.keras().Sequential and not model.built:
        raise ValueError(f"model '{model.name}' has no input yet: build it for one image shape.")
    if not is_readable(model):
        raise ValueError(
            f"model '{model.name}' is a {type(model).__name__}, whose layers cannot be read: "
            "build it as keras.Sequential or as keras.Model(inputs, outputs)."
        )


def graph_of(model: Any) -> Graph:
    """The calls of a Sequential or functional model. A model inside the model is one call of it."""
    keras = backend.keras()
    check_readable(model)
    if type(model) is keras.Sequential:
        model = keras.Model(model.inputs[0], model.outputs[0])
    originals: dict[int, Any] = {}
    calls: list[Call] = []

    def copied(layer: Any) -> Any:
        copy = KerasModel(layer).copy().keras if isinstance(layer, keras.Model) else copy_of(layer)
        originals[id(copy)] = layer
        return copy

    def recorded(copy: Any, *args: Any, **kwargs: Any) -> Any:
        given = copy(*args, **kwargs)
        calls.append(Call(originals[id(copy)], args, kwargs, keras.tree.flatten(given)))
        return given

    traced = keras.models.clone_model(model, clone_function=copied, call_function=recorded)
    return Graph(traced.inputs, traced.input, traced.output, calls)


def rebuilt(model: Any, instead: Mapping[str, Sequence[Piece]]) -> Any:
    """A functional model of copies of all layers, those of models inside the model too, with the same weights.

    Args:
      instead: layer name -> layers that are called one after another where it was called; none: it is left out.
    """
    keras = backend.keras()
    graph = graph_of(model)
    own = {id(c.layer): c.layer.name for c in graph.calls if not isinstance(c.layer, keras.Model)}
    names = {t.name for t in graph.inputs} | set(own.values())
    graphs: dict[int, Graph] = {}
    made: dict[int, list[tuple[Any, Sequence[np.ndarray]]]] = {}
    tensors: dict[int, Any] = {}

    def pieces(layer: Any, prefix: str) -> list[tuple[Any, Sequence[np.ndarray]]]:
        if layer.name in instead:
            return [(p.cls.from_config(dict(p.config)), p.weights) for p in instead[layer.name]]  # type: ignore[attr-defined]
        weights: list[np.ndarray] = getattr(layer, "get_weights", list)()
        name = layer.name if id(layer) in own else _unused(layer.name, prefix, names)
        return [(copy_of(layer, name), weights)]

    def run(graph: Graph, given: Sequence[Any], prefix: str) -> Any:
        tensors.update({id(t): g for t, g in zip(graph.inputs, given, strict=True)})
        for call in graph.calls:
            args, kwargs = keras.tree.map_structure(
                lambda t: tensors.get(id(t), t), (call.args, dict(call.kwargs))
            )
            layer = call.layer
            if isinstance(layer, keras.Model):
                inner = graphs.setdefault(id(layer), graph_of(layer))
                value = run(inner, keras.tree.flatten(args), f"{prefix}{layer.name}_")
            else:
                if id(layer) not in made:
                    made[id(layer)] = pieces(layer, prefix)
                value = args[0]
                for number, (copy, _) in enumerate(made[id(layer)]):
                    # Another layer takes other words, and a mask means nothing to it.
                    like = number == 0 and type(copy) is type(layer)
                    value = copy(*args, **kwargs) if like else copy(value)
            tensors.update(zip(map(id, call.outputs), keras.tree.flatten(value), strict=True))
        return keras.tree.map_structure(lambda t: tensors[id(t)], graph.outputs)

    given = []
    for t in graph.inputs:
        config = {"batch_shape": t.shape, "dtype": t.dtype, "name": t.name}
        given.append(keras.Input(**(instead[t.name][0].config if t.name in instead else config)))
    inputs = keras.tree.pack_sequence_as(graph.takes, given)
    result = keras.Model(inputs, run(graph, given, ""), name=model.name)
    for copy, weights in (pair for pairs in made.values() for pair in pairs):
        if len(weights):
            give_weights(copy, weights)
    return result


@dataclass(frozen=True)
class Rewrite:
    """One exchange of layers after which a flat model computes the same."""

    what: str  # a sentence
    touches: tuple[str, ...]  # names of the layers it is about
    instead: Mapping[str, Sequence[Piece]]

    def applied(self, model: KerasModel) -> KerasModel:
        """A copy of `model` with the layers exchanged."""
        return KerasModel(rebuilt(model.keras, self.instead))


def flattened(model: KerasModel) -> tuple[KerasModel, list[str]]:
    """The same function with the layers of models inside the model as its own, and a sentence for each such model.

    A model without any is given back as it is.
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
    """A name not in `names`, and put there: `name`, else with those of the models it is in, else with a number."""
    found, number = (name if name not in names else prefix + name), 2
    while found in names:
        found, number = f"{prefix}{name}_{number}", number + 1
    names.add(found)
    return found
