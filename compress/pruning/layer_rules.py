"""Rules for the channels of each kind of Keras layer: it passes them on, ties them, mixes them, or makes new ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from compress.keras_models.layer_kinds import kind_of
from compress.keras_models.layers import is_channels_last

# A label for each channel of a tensor, int64 [c]. Channels with tied labels are removed together.
Labels = np.ndarray
# Activations in which a channel's value depends on other channels.
MIXING = ("softmax", "log_softmax", "sparsemax", "glu")


@dataclass(frozen=True)
class Hold:
    """The reason why channels must not be removed, and the layer that is the reason, if there is one."""

    why: str
    layer: str = ""
    cause: str = ""  # the reason without the name of the layer


class ChannelUnionFind:
    """Labels, with the ties between them, and the held labels, which must not be removed, with the reason."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self.held: dict[int, Hold] = {}

    def new(self, count: int) -> Labels:
        """`count` new labels, int64 [count], tied to no other."""
        first = len(self._parent)
        self._parent += range(first, first + count)
        return np.arange(first, first + count)

    def root(self, label: int) -> int:
        """The lowest label among this label and the labels that are tied to it."""
        while self._parent[label] != label:
            self._parent[label] = self._parent[self._parent[label]]
            label = self._parent[label]
        return label

    def roots(self) -> list[int]:
        """The root of every label, in order of the labels."""
        return [self.root(label) for label in range(len(self._parent))]

    def tie(self, one: Labels, other: Labels) -> None:
        """Tie labels pairwise. If one label of a pair is held, both are held, for the same reason."""
        for pair in zip(one.tolist(), other.tolist(), strict=True):
            low, high = sorted(map(self.root, pair))
            if low != high:
                self._parent[high] = low
                if high in self.held:
                    self.held.setdefault(low, self.held.pop(high))

    def hold(self, labels: Labels, why: Hold) -> None:
        """Hold labels. The first reason given for a label is kept."""
        for label in labels.tolist():
            self.held.setdefault(self.root(label), why)

    def hold_instead(self, labels: Labels, why: Hold) -> None:
        """Hold labels for this reason, which replaces any earlier reason."""
        for label in labels.tolist():
            self.held[self.root(label)] = why


@dataclass(frozen=True)
class Channels:
    """The channels of a tensor, which are on its last axis, and the shape of the tensor without the batch axis."""

    labels: Labels
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class ChannelFlow:
    """The path of channels through a layer: its output channels, and the parts of it that are removed with channels.

    An axis of a weight is given as the name of the layer's attribute and a negative number.
    """

    outputs: Labels
    # Option of the layer that is a number of channels -> the labels of these channels.
    sizes: dict[str, Labels] = field(default_factory=dict)
    weights: dict[tuple[str, int], Labels] = field(default_factory=dict)
    makes: tuple[str, int] | None = None  # the axis of its kernel that counts its filters
    mixes: tuple[str, int] | None = None  # the axis of its kernel along which channels end


Inputs = Sequence[Channels]
Rule = Callable[[ChannelUnionFind, Any, Inputs], ChannelFlow | None]


def rule_of(layer: Any) -> Rule | None:
    """The rule for channels through a layer; None if there is none, as for layers that are not built into Keras."""
    kind, module = kind_of(layer), type(layer).__module__
    own = kind.operation if module.startswith("keras.src.ops.") else module.startswith("keras.")
    return RULES[kind.channels] if kind.channels and own and is_channels_last(layer) else None


def mixes_channels(layer: Any) -> bool:
    """True if a layer's activation computes a channel from several channels, or might do so."""
    activation = getattr(layer, "activation", None)
    if activation is None:
        return False
    name = getattr(activation, "__name__", "")
    return name in MIXING or not str(getattr(activation, "__module__", "")).startswith("keras.")


def _passed(union: ChannelUnionFind, layer: Any, inputs: Inputs) -> ChannelFlow | None:
    """One output channel for each input channel."""
    (image,) = inputs
    axis = getattr(layer, "axis", -1)
    (axis,) = axis if isinstance(axis, list | tuple) else (axis,)
    # Dropout has a noise shape; SpatialDropout has none.
    noise = (getattr(layer, "noise_shape", None) or (None,))[-1]
    if mixes_channels(layer) or axis not in (-1, len(image.shape)) or noise not in (None, 1):
        return None
    weights = {
        (name, -1): image.labels
        for name in kind_of(layer).by_channel
        if tuple(getattr(getattr(layer, name, None), "shape", ()))[-1:] == (len(image.labels),)
    }
    return ChannelFlow(image.labels, weights=weights)


def _scaled(union: ChannelUnionFind, layer: Any, inputs: Inputs) -> ChannelFlow | None:
    """Rescaling, with the same numbers for every channel."""
    alike = np.ndim(layer.scale) == np.ndim(layer.offset) == 0
    return ChannelFlow(inputs[0].labels) if alike else None


def _merged(union: ChannelUnionFind, layer: Any, inputs: Inputs) -> ChannelFlow | None:
    """Channels of several tensors, combined one by one, as in Add."""
    first = inputs[0]
    for other in inputs[1:]:
        if len(other.shape) != len(first.shape) or other.shape[-1] != first.shape[-1]:
            return None
        union.tie(first.labels, other.labels)
    return ChannelFlow(first.labels)


def _joined(union: ChannelUnionFind, layer: Any, inputs: Inputs) -> ChannelFlow | None:
    """Concatenation of several tensors, along the channel axis or along another axis."""
    if layer.axis in (-1, len(inputs[0].shape)):
        return ChannelFlow(np.concatenate([each.labels for each in inputs]))
    return _merged(union, layer, inputs)


def _flattened(union: ChannelUnionFind, layer: Any, inputs: Inputs) -> ChannelFlow | None:
    """Every channel at every position; the channels of a position are next to each other."""
    (image,) = inputs
    places = image.shape[:-1]
    if None in places:
        return None
    return ChannelFlow(np.tile(image.labels, math.prod(p for p in places if p is not None)))


def _reshaped(union: ChannelUnionFind, layer: Any, inputs: Inputs) -> ChannelFlow | None:
    """Another arrangement of positions, or one row of all channels of all positions, as in Flatten."""
    (image,) = inputs
    shape = tuple(layer.compute_output_shape((None, *image.shape)))[1:]
    if shape[-1] == image.shape[-1]:
        return ChannelFlow(image.labels, {"target_shape": image.labels})
    flat = _flattened(union, layer, inputs) if len(shape) == 1 else None
    return ChannelFlow(flat.outputs, {"target_shape": flat.outputs}) if flat else None


def _filtered(union: ChannelUnionFind, layer: Any, inputs: Inputs) -> ChannelFlow | None:
    """A convolution or Dense: each filter takes all channels and makes a new one, unless it is depthwise."""
    kind, incoming, groups = kind_of(layer), inputs[0].labels, getattr(layer, "groups", 1)
    *before, kernel = kind.kernels
    if kernel.depthwise or groups == len(incoming) > 1:
        return _depthwise(union, layer, inputs)
    # All groups of a grouped convolution keep filters and channels at the same positions.
    outputs = np.tile(union.new(getattr(layer, kind.size) // groups), groups)
    inside = len(incoming) // groups
    for start in range(inside, len(incoming), inside):
        union.tie(incoming[:inside], incoming[start : start + inside])
    if mixes_channels(layer):
        why = Hold(f"the activation of '{layer.name}' is not followed", layer.name)
        union.hold(outputs, why)
    weights = {}
    for depthwise in before:
        weights[depthwise.attribute, depthwise.inputs] = incoming
        incoming = np.repeat(incoming, layer.depth_multiplier)
    input_axis, output_axis = (kernel.attribute, kernel.inputs), (kernel.attribute, kernel.outputs)
    weights |= {
        input_axis: incoming[: len(incoming) // groups],
        output_axis: outputs,
        ("bias", -1): outputs,
    }
    return ChannelFlow(outputs, {kind.size: outputs}, weights, makes=output_axis, mixes=input_axis)


def _depthwise(union: ChannelUnionFind, layer: Any, inputs: Inputs) -> ChannelFlow | None:
    """A depthwise convolution, or a Conv with as many groups as channels."""
    kind, incoming = kind_of(layer), inputs[0].labels
    (kernel,) = kind.kernels
    if mixes_channels(layer):
        return None
    if kernel.depthwise:
        outputs = np.repeat(incoming, layer.depth_multiplier)
        weights = {(kernel.attribute, kernel.inputs): incoming, ("bias", -1): outputs}
        return ChannelFlow(outputs, weights=weights)
    outputs = np.repeat(incoming, getattr(layer, kind.size) // layer.groups)
    weights = {(kernel.attribute, kernel.outputs): outputs, ("bias", -1): outputs}
    return ChannelFlow(outputs, {kind.size: outputs, "groups": incoming}, weights)


# Name of a rule in the table of layer kinds -> the rule.
RULES: dict[str, Rule] = {
    "filtered": _filtered,
    "passed": _passed,
    "scaled": _scaled,
    "merged": _merged,
    "joined": _joined,
    "flattened": _flattened,
    "reshaped": _reshaped,
}
