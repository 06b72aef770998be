"""The filters of a Keras model that are removed together, found by following channels through its graph."""

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
    """The units of a model: sets of filters that are removed together or kept together.

    A label is the number of a unit. Channels of the model's input, and of layers that are not followed, are units too.
    These units are held, that is, never removed.
    """

    units: int
    held: dict[int, Hold]  # unit -> why it is never removed
    flows: dict[str, ChannelFlow]  # layer name -> its parts that are removed with units

    def makers(self) -> dict[str, Labels]:
        """Layer name -> the unit of each of its filters, for layers that make channels, in layer order."""
        return {name: flow.outputs for name, flow in self.flows.items() if flow.makes}

    def makers_of(self, units: Labels) -> tuple[str, ...]:
        """The names of the layers that make any of these units."""
        return tuple(name for name, labels in self.makers().items() if np.isin(units, labels).any())

    def holding(self, layers: tuple[str, ...]) -> FilterGroups:
        """The same units, with the units of these layers held. Each layer must make channels."""
        skipped = {unit: SKIPPED for name in layers for unit in self.makers()[name].tolist()}
        return dataclasses.replace(self, held=skipped | self.held)

    def groups(self) -> dict[str, Labels]:
        """Units that may be removed, sorted into groups of interchangeable units.

        Two units are in one group if the same layers make them. The name of a group is the names of these layers,
        joined by "+". The number of filters that a layer keeps is a sum over the groups with its name.
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
        """Layer name -> why the layer keeps filters. Skipped layers and layers that give the output are left out."""
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
    """Follow the channels of a Keras 3 model from inputs to outputs; channels that are removed together are one unit.

    The example has two convolutions, with 4 and 2 filters, a normalization between them, and images of 3 channels. Each
    channel, and each position along an axis of a weight, is marked with its unit::

        image [h, w, 3] ──► conv1 ──► norm ──► conv2 ──► output [h, w, 2]

                gives      weights
        image   0 1 2
        conv1   3 4 5 6    kernel [3, 3, 0 1 2, 3 4 5 6]      bias [3 4 5 6]
        norm    3 4 5 6    gamma, beta, moving_mean, moving_variance [3 4 5 6]
        conv2   7 8        kernel [3, 3, 3 4 5 6, 7 8]        bias [7 8]

    Unit 4 is filter 1 of conv1. If it is removed, everything marked 4 is removed: that filter and its bias, four
    numbers of norm, and in each filter of conv2 the slice that takes this channel. Conv1 makes units 3 to 6, norm
    passes them on, and conv2 mixes them, so that they end there. Units 0 to 2 belong to the image, and units 7 and 8 to
    the output; both are held. One group is left, {"conv1": [3, 4, 5, 6]}. If an Add joined the output of conv1 with the
    output of another layer, both layers would make the same units, and the group would have the names of both.

    Args:
      model: Sequential or functional; it is not changed.

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
    """A tensor, then the tensors from which layers without kernels, such as Softmax, make it channel by channel."""
    yield tensor
    maker = graph.makers.get(id(tensor))
    while maker and not kind_of(maker.layer).kernels and len(maker.inputs) == 1:
        (source,) = maker.inputs
        if source.shape[-1] != tensor.shape[-1]:
            return
        yield source
        maker = graph.makers.get(id(source))


class _ChannelTracer:
    """The channels of tensors and the flows through layers, for the calls followed so far."""

    def __init__(self) -> None:
        self.union = ChannelUnionFind()
        self._flows: dict[str, ChannelFlow] = {}
        # Layer name -> why a call of the layer is not followed.
        self._lost: dict[str, Hold] = {}
        self._channels: dict[int, Channels] = {}  # by id of a tensor; the graph keeps tensors alive

    def channels(self, tensor: Any, why: Hold = INPUT) -> Channels:
        """The channels of a tensor. If no followed layer gave the tensor, its channels are new and held."""
        if id(tensor) not in self._channels:
            labels = self.union.new(tensor.shape[-1] or 0 if len(tensor.shape) > 1 else 0)
            self.union.hold(labels, why)
            self._set_channels(tensor, labels)
        return self._channels[id(tensor)]

    def follow(self, call: Call) -> None:
        """Follow the channels through a call of a layer. Without a rule, hold the call's inputs and outputs."""
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
        """The groups of the followed calls, with units, numbered from 0, in place of labels."""
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
        """Add the flow of a call. If the layer was called before, tie its weights' labels to the earlier ones."""
        before = self._flows.setdefault(name, flow)
        for option, labels in flow.sizes.items():
            self.union.tie(before.sizes[option], labels)
        for axis, labels in flow.weights.items():
            self.union.tie(before.weights[axis], labels)

    def _set_channels(self, tensor: Any, labels: Labels) -> None:
        self._channels[id(tensor)] = Channels(labels, tuple(tensor.shape[1:]))
