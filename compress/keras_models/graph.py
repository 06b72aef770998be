"""The graph of calls in a Keras model. Only this module reads how the layers are connected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from compress import backend


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer on symbolic tensors."""

    layer: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: list[Any]

    @property
    def inputs(self) -> list[Any]:
        """The tensors among the arguments, in order."""
        return [a for a in self.arguments if isinstance(a, backend.keras().KerasTensor)]

    @property
    def constants(self) -> list[Any]:
        """The numbers and strings among the arguments: all arguments except tensors, flags and None."""
        kinds = (backend.keras().KerasTensor, bool, type(None))
        return [a for a in self.arguments if not isinstance(a, kinds)]

    @property
    def arguments(self) -> list[Any]:
        """All arguments in order, including those inside lists and dicts."""
        arguments: list[Any] = backend.keras().tree.flatten((self.args, dict(self.kwargs)))
        return arguments


@dataclass(frozen=True, eq=False)
class Graph:
    """All calls of a model in topological order, with the inputs and outputs of the model."""

    inputs: list[Any]
    takes: Any  # the inputs in the structure that the model takes: one tensor, a list or a dict
    outputs: Any
    calls: list[Call]

    @cached_property
    def users(self) -> dict[int, list[Call]]:
        """id of a tensor -> the calls that take it."""
        users: dict[int, list[Call]] = {}
        for call in self.calls:
            for tensor in call.inputs:
                users.setdefault(id(tensor), []).append(call)
        return users

    @cached_property
    def makers(self) -> dict[int, Call]:
        """id of a tensor -> the call that gives it. Inputs of the model have no entry."""
        return {id(tensor): call for call in self.calls for tensor in call.outputs}

    def calls_of(self, layer: Any) -> int:
        """The number of times that the model calls a layer."""
        return sum(call.layer is layer for call in self.calls)

    def sole_user(self, call: Call) -> Call | None:
        """The only call that takes the output of `call`, or None.

        The result is also None if that output is an output of the model, if `call` has several outputs, if the user
        takes a second tensor, or if either layer is called several times.
        """
        (tensor, *other_outputs), users = call.outputs, self.users.get(id(call.outputs[0]), [])
        is_model_output = any(tensor is t for t in backend.keras().tree.flatten(self.outputs))
        if other_outputs or is_model_output or len(users) != 1 or len(users[0].inputs) != 1:
            return None
        once = self.calls_of(call.layer) == self.calls_of(users[0].layer) == 1
        return users[0] if once else None


def is_readable(model: Any) -> bool:
    """True if the calls of a Keras model can be read: it is functional, or Sequential and built."""
    keras = backend.keras()
    functional = type(model).__name__ == "Functional" and type(model).__module__.startswith(
        "keras."
    )
    return bool((type(model) is keras.Sequential and model.built) or functional)


def check_readable(model: Any) -> None:
    """Raise ValueError, with the remedy, unless `is_readable(model)`."""
    if type(model) is backend.keras().Sequential and not model.built:
        raise ValueError(f"model '{model.name}' has no input yet: build it for one image shape.")
    if not is_readable(model):
        raise ValueError(
            f"model '{model.name}' is a {type(model).__name__}, whose layers cannot be read: "
            "build it as keras.Sequential or as keras.Model(inputs, outputs)."
        )


def graph_of(model: Any) -> Graph:
    """The graph of a Sequential or functional model, with the model's own tensors. Nothing is copied or called.

    A model inside the model is one call.
    """
    keras = backend.keras()
    if isinstance(model, keras.Sequential) and model.built:
        model = keras.Model(model.inputs[0], model.outputs[0])
    if not hasattr(model, "_nodes_by_depth"):
        check_readable(model)
    # Only this function reads private attributes of Keras. The public clone_model creates every layer again. That draws
    # random numbers, and fails if a dimension is None.
    nodes = [
        node for _, nodes in sorted(model._nodes_by_depth.items(), reverse=True) for node in nodes
    ]
    calls = [
        Call(node.operation, node.arguments.args, node.arguments.kwargs, node.outputs)
        for node in nodes
        if not node.is_input
    ]
    return Graph(model.inputs, model.input, model.output, calls)
