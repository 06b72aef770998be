"""Which filters of a Keras model are removed together, found by following its channels through the graph."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from compress import backend
from compress.findings import Finding
from compress.keras_models.graph import check_readable
from compress.keras_models.layers import copy_of
from compress.pruning.layer_rules import Call, Channels, Hold, Labels, Ties, rule_of

OUTPUT = Hold("it gives the model's output")
SKIPPED = Hold("it is skipped")
INPUT = Hold("it is computed with the model's input")


@dataclass(frozen=True)
class FilterGroups:
    """The units of a model: sets of filters that go together or stay together.

    Labels are numbers of units. What a model's input and layers that are not followed give are units as well, held.
    """

    units: int
    held: dict[int, Hold]  # unit -> why it stays
    calls: dict[str, Call]  # layer name -> what goes of the layer when units go

    def makers(self) -> dict[str, Labels]:
        """Layer name -> the unit of each of its filters, for layers that make channels, in layer order."""
        return {name: call.given for name, call in self.calls.items() if call.makes}

    def makers_of(self, units: Labels) -> tuple[str, ...]:
        """The names of the layers that make any of these units."""
        return tuple(name for name, made in self.makers().items() if np.isin(units, made).any())

    def holding(self, layers: tuple[str, ...]) -> FilterGroups:
        """The same, but that these layers, makers all, keep their filters."""
        skipped = {unit: SKIPPED for name in layers for unit in self.makers()[name].tolist()}
        return dataclasses.replace(self, held=skipped | self.held)

    def groups(self) -> dict[str, Labels]:
        """Units that may go, sorted into groups in which any unit can stand for any other.

        Two units are in one group if the same layers make them. A group is called by the names of these layers, joined
        by "+"; the number of filters that a layer keeps is a sum over the groups with its name.
        """
        layers: defaultdict[int, list[str]] = defaultdict(list)
        for name, given in self.makers().items():
            for unit in np.unique(given).tolist():
                layers[unit].append(name)
        found: defaultdict[str, list[int]] = defaultdict(list)
        for unit, names in sorted(layers.items()):
            if unit not in self.held:
                found["+".join(names)].append(unit)
        return {name: np.array(units) for name, units in found.items()}

    def reasons(self) -> dict[str, Finding]:
        """Layer name -> that and why it keeps all or some of its filters, where that is not what was asked for."""
        found = {}
        for name, given in self.makers().items():
            holds = [self.held[unit] for unit in given.tolist() if unit in self.held]
            if holds and holds[0] not in (OUTPUT, SKIPPED):
                some = "stays whole" if len(holds) == len(given) else f"keeps {len(holds)} filters"
                layers = dict.fromkeys(filter(None, (name, holds[0].layer)))
                found[name] = Finding(tuple(layers), f"{some}: {holds[0].why}", subject=name)
        return found


def follow(model: Any) -> FilterGroups:
    """Follow the channels of a Keras 3 model from its inputs to its outputs.

    Args:
      model: Sequential or functional; it stays as it is.

    Raises:
      ValueError: the model is of another kind, whose layers cannot be read.
    """
    check_readable(model)
    keras = backend.keras()
    graph = _Graph()
    if type(model) is not keras.Sequential:
        copy = keras.models.clone_model(model, clone_function=copy_of, call_function=graph.call)
        outputs = keras.tree.flatten(copy.outputs)
    else:
        x: Any = keras.Input(batch_shape=model.inputs[0].shape, dtype=model.inputs[0].dtype)
        for layer in keras.models.clone_model(model, clone_function=copy_of).layers:
            x = graph.call(layer, x)
        outputs = [x]
    for output in outputs:
        graph.ties.hold(graph.channels(output).labels, OUTPUT)
    return graph.finished()


class _Graph:
    """What is known of the tensors and layers called so far."""

    def __init__(self) -> None:
        self.ties = Ties()
        self.calls: dict[str, Call] = {}
        # Layer name -> why, for layers of which a call is not followed.
        self._lost: dict[str, Hold] = {}
        self._channels: dict[int, Channels] = {}
        self._tensors: list[Any] = []  # kept, so that no other tensor gets the id of one

    def channels(self, tensor: Any, why: Hold = INPUT) -> Channels:
        """The channels of a tensor; those of one that no followed layer gave are held."""
        if id(tensor) not in self._channels:
            labels = self.ties.new(tensor.shape[-1] or 0 if len(tensor.shape) > 1 else 0)
            self.ties.hold(labels, why)
            self._know(tensor, labels)
        return self._channels[id(tensor)]

    def call(self, layer: Any, *arguments: Any, **words: Any) -> Any:
        """Call a layer and follow the channels through it; what it takes and gives is held if that is not known."""
        keras = backend.keras()
        result = layer(*arguments, **words)
        given = keras.tree.flatten(result)
        taken = [a for a in keras.tree.flatten((arguments, words)) if a is not None]
        tensors = [a for a in taken if isinstance(a, keras.KerasTensor)]
        numbers = [a for a in taken if not isinstance(a, keras.KerasTensor | bool)]
        inputs = [self.channels(tensor) for tensor in tensors]
        known = all(len(i.shape) and i.shape[-1] == len(i.labels) for i in inputs)
        rule = rule_of(layer) if known and inputs and not numbers and len(given) == 1 else None
        call = rule(self.ties, layer, inputs) if rule else None
        if call:
            self._know(given[0], call.given)
            self._remember(layer.name, call)
            return result
        why = Hold(f"'{layer.name}' ({type(layer).__name__}) is not followed", layer.name)
        self._lost[layer.name] = why
        for each in inputs:
            self.ties.hold(each.labels, why)
        for tensor in given:
            self.channels(tensor, why)
        return result

    def finished(self) -> FilterGroups:
        """The same with units, numbered from 0, in place of labels."""
        for name in sorted(self._lost.keys() & self.calls.keys()):
            for labels in (*self.calls[name].sizes.values(), *self.calls[name].weights.values()):
                self.ties.hold(labels, self._lost[name])
        roots = self.ties.roots()
        number = {root: unit for unit, root in enumerate(sorted(set(roots)))}
        unit_of = np.array([number[root] for root in roots], dtype=np.int64)
        calls = {
            name: Call(
                unit_of[call.given],
                {option: unit_of[labels] for option, labels in call.sizes.items()},
                {axis: unit_of[labels] for axis, labels in call.weights.items()},
                call.makes,
                call.mixes,
            )
            for name, call in self.calls.items()
        }
        return FilterGroups(len(number), {number[r]: w for r, w in self.ties.held.items()}, calls)

    def _remember(self, name: str, call: Call) -> None:
        """A layer that is called again has the same weights again: what they are sized by is tied."""
        before = self.calls.setdefault(name, call)
        for option, labels in call.sizes.items():
            self.ties.tie(before.sizes[option], labels)
        for axis, labels in call.weights.items():
            self.ties.tie(before.weights[axis], labels)

    def _know(self, tensor: Any, labels: Labels) -> None:
        self._tensors.append(tensor)
        self._channels[id(tensor)] = Channels(labels, tuple(tensor.shape[1:]))
