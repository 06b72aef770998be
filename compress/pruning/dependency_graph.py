"""Which filters of a Keras model are removed together, found by following its channels through the graph."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from compress import backend
from compress.findings import Finding
from compress.keras_models.graph import Call, Graph, check_readable, graph_of
from compress.keras_models.layer_kinds import kind_of
from compress.pruning.layer_rules import (
    ChannelFlow,
    Channels,
    ChannelUnionFind,
    Hold,
    Labels,
    rule_of,
)

OUTPUT = Hold("it gives the model's output")
SKIPPED = Hold("it is skipped")
INPUT = Hold("it is computed with the model's input")


@dataclass(frozen=True)
class FilterGroups:
    """The units of a model: sets of filters that go together or stay together.

    A label is the number of a unit. Channels of the model's input, and of layers that are not followed, are units as
    well; they are held.
    """

    units: int
    held: dict[int, Hold]  # unit -> why it stays
    flows: dict[str, ChannelFlow]  # layer name -> which parts of the layer go when units go

    def makers(self) -> dict[str, Labels]:
        """Layer name -> the unit of each of its filters, for layers that make channels, in layer order."""
        return {name: flow.outputs for name, flow in self.flows.items() if flow.makes}

    def makers_of(self, units: Labels) -> tuple[str, ...]:
        """The names of the layers that make any of these units."""
        return tuple(name for name, labels in self.makers().items() if np.isin(units, labels).any())

    def holding(self, layers: tuple[str, ...]) -> FilterGroups:
        """The same units, those of these layers held. Each of the layers must be a maker."""
        skipped = {unit: SKIPPED for name in layers for unit in self.makers()[name].tolist()}
        return dataclasses.replace(self, held=skipped | self.held)

    def groups(self) -> dict[str, Labels]:
        """Units that may go, sorted into groups in which any unit can stand for any other.

        Two units are in one group if the same layers make them. A group is called by the names of these layers, joined
        by "+"; the number of filters that a layer keeps is a sum over the groups with its name.
        """
        layers: defaultdict[int, list[str]] = defaultdict(list)
        for name, labels in self.makers().items():
            for unit in np.unique(labels).tolist():
                layers[unit].append(name)
        groups: defaultdict[str, list[int]] = defaultdict(list)
        for unit, names in sorted(layers.items()):
            if unit not in self.held:
                groups["+".join(names)].append(unit)
        return {name: np.array(units) for name, units in groups.items()}

    def reasons(self) -> dict[str, Finding]:
        """Layer name -> why it keeps all or some of its filters, for layers that are not skipped and give no output."""
        findings = {}
        for name, labels in self.makers().items():
            holds = [self.held[unit] for unit in labels.tolist() if unit in self.held]
            if holds and holds[0] not in (OUTPUT, SKIPPED):
                some = "stays whole" if len(holds) == len(labels) else f"keeps {len(holds)} filters"
                layers = dict.fromkeys(filter(None, (name, holds[0].layer)))
                why, cause = holds[0].why, holds[0].cause or holds[0].why
                findings[name] = Finding(
                    tuple(layers), f"{some}: {why}", subject=name, cause=f"{some}: {cause}"
                )
        return findings


def build_dependency_graph(model: Any) -> FilterGroups:
    """Follow the channels of a Keras 3 model from its inputs to its outputs; those that go together are one unit.

    Two convolutions, of 4 and 2 filters, with a normalization between them, on images of 3 channels. Each channel, and
    each place along an axis of a weight, is marked with its unit::

        image [h, w, 3] ──► conv1 ──► norm ──► conv2 ──► output [h, w, 2]

                gives      weights
        image   0 1 2
        conv1   3 4 5 6    kernel [3, 3, 0 1 2, 3 4 5 6]      bias [3 4 5 6]
        norm    3 4 5 6    gamma, beta, moving_mean, moving_variance [3 4 5 6]
        conv2   7 8        kernel [3, 3, 3 4 5 6, 7 8]        bias [7 8]

    Unit 4 is filter 1 of conv1. If it goes, whatever is marked 4 goes: that filter and its bias, four numbers of norm,
    and of each filter of conv2 the slice that takes this channel. Conv1 makes units 3 to 6, norm passes them on, and
    conv2 mixes them, so that they end there. Units 0 to 2 are the image's, 7 and 8 the output's: they are held. What is
    left is one group, {"conv1": [3, 4, 5, 6]}. If an Add joined the output of conv1 with that of another layer,
    both layers would make the same units, and the group would have the names of both.

    Args:
      model: Sequential or functional; it stays as it is.

    Raises:
      ValueError: the model is of another kind, whose layers cannot be read.
    """
    check_readable(model)
    graph, tracer = graph_of(model), _ChannelTracer()
    for call in graph.calls:
        tracer.follow(call)
    for output in backend.keras().tree.flatten(graph.outputs):
        for tensor in _with_sources(graph, output):
            tracer.union.hold_instead(tracer.channels(tensor).labels, OUTPUT)
    return tracer.groups()


def _with_sources(graph: Graph, tensor: Any) -> Iterator[Any]:
    """A tensor, and those that layers without kernels make it of, channel by channel, such as what a Softmax takes."""
    yield tensor
    maker = graph.makers.get(id(tensor))
    while maker and not kind_of(maker.layer).kernels and len(maker.inputs) == 1:
        (source,) = maker.inputs
        if source.shape[-1] != tensor.shape[-1]:
            return
        yield source
        maker = graph.makers.get(id(source))


class _ChannelTracer:
    """The channels of the tensors, and the flows through the layers, of the calls followed so far."""

    def __init__(self) -> None:
        self.union = ChannelUnionFind()
        self._flows: dict[str, ChannelFlow] = {}
        # Layer name -> why, for layers of which a call is not followed.
        self._lost: dict[str, Hold] = {}
        self._channels: dict[int, Channels] = {}  # by id of a tensor; the graph keeps them alive

    def channels(self, tensor: Any, why: Hold = INPUT) -> Channels:
        """The channels of a tensor. If no followed layer gave the tensor, they are new and held."""
        if id(tensor) not in self._channels:
            labels = self.union.new(tensor.shape[-1] or 0 if len(tensor.shape) > 1 else 0)
            self.union.hold(labels, why)
            self._set_channels(tensor, labels)
        return self._channels[id(tensor)]

    def follow(self, call: Call) -> None:
        """Follow the channels through a call of a layer; without a rule for it, its inputs and outputs are held."""
        inputs = [self.channels(tensor) for tensor in call.inputs]
        known = all(len(i.shape) and i.shape[-1] == len(i.labels) for i in inputs)
        alone = len(call.outputs) == 1 and not call.constants
        rule = rule_of(call.layer) if known and inputs and alone else None
        flow = rule(self.union, call.layer, inputs) if rule else None
        name = call.layer.name
        if flow:
            self._set_channels(call.outputs[0], flow.outputs)
            self._add_flow(name, flow)
            return
        kind = type(call.layer).__name__
        why = Hold(f"'{name}' ({kind}) is not followed", name, f"a {kind} is not followed")
        self._lost[name] = why
        for each in inputs:
            self.union.hold(each.labels, why)
        for tensor in call.outputs:
            self.channels(tensor, why)

    def groups(self) -> FilterGroups:
        """The same with units, numbered from 0, in place of labels."""
        for name in sorted(self._lost.keys() & self._flows.keys()):
            flow = self._flows[name]
            for labels in (*flow.sizes.values(), *flow.weights.values()):
                self.union.hold(labels, self._lost[name])
        roots = self.union.roots()
        number = {root: unit for unit, root in enumerate(sorted(set(roots)))}
        unit_of = np.array([number[root] for root in roots], dtype=np.int64)
        flows = {
            name: dataclasses.replace(
                flow,
                outputs=unit_of[flow.outputs],
                sizes={option: unit_of[labels] for option, labels in flow.sizes.items()},
                weights={axis: unit_of[labels] for axis, labels in flow.weights.items()},
            )
            for name, flow in self._flows.items()
        }
        held = {number[root]: why for root, why in self.union.held.items()}
        return FilterGroups(len(number), held, flows)

    def _add_flow(self, name: str, flow: ChannelFlow) -> None:
        """Add the flow of a call. If the layer was called before, the labels of its weights are tied to those."""
        before = self._flows.setdefault(name, flow)
        for option, labels in flow.sizes.items():
            self.union.tie(before.sizes[option], labels)
        for axis, labels in flow.weights.items():
            self.union.tie(before.weights[axis], labels)

    def _set_channels(self, tensor: Any, labels: Labels) -> None:
        self._channels[id(tensor)] = Channels(labels, tuple(tensor.shape[1:]))
