"""Copies of a Keras model without some of its filters or weights, and the parameters and MACs of such models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from compress import backend
from compress.keras_models.layers import copy_of, give_weights, kernel_names
from compress.keras_models.macs import macs_by_layer
from compress.keras_models.model import KerasModel
from compress.pruning.dependency_graph import FilterGroups


@dataclass(frozen=True)
class Term:
    """A number of parameters or multiply-accumulates: `factor` times the number of kept channels of each axis."""

    factor: int
    axes: tuple[np.ndarray, ...] = ()  # per axis that can shrink, the unit of every channel


def without_filters(model: KerasModel, groups: FilterGroups, kept_units: np.ndarray) -> KerasModel:
    """A copy of `model` without some of its filters: smaller shapes, the same layers, names and order.

    Args:
      groups: the result of `build_dependency_graph` for the model.
      kept_units: bool [units], true for units that stay. Held units must stay.
    """

    def smaller(layer: Any) -> Any:
        flow = groups.flows.get(layer.name)
        if not flow or not flow.sizes:
            return copy_of(layer)
        config = layer.get_config()
        for option, labels in flow.sizes.items():
            config[option] = _size(config[option], int(kept_units[labels].sum()))
        return layer.__class__.from_config(config)

    result = backend.keras().models.clone_model(model.keras, clone_function=smaller)
    for layer in model.keras.layers:
        if layer.weights:
            weights = [_slice(groups, layer, w, kept_units) for w in layer.weights]
            give_weights(result.get_layer(layer.name), weights)
    return KerasModel(result)


def without_weights(model: KerasModel, kept: Mapping[str, np.ndarray]) -> KerasModel:
    """A copy of `model` with zeros for some of its weights.

    Args:
      kept: kernel name -> mask of its shape, true for each weight that stays.
    """
    copy, kernels = model.copy(), model.kernels()
    variables = copy.kernel_variables()
    for name, mask in kept.items():
        variables[name].assign(np.where(mask, kernels[name], np.float32(0)))
    return copy


def parameter_terms(model: KerasModel, groups: FilterGroups) -> list[Term]:
    """Terms that add up to the parameters of the model as Keras counts them."""
    return [
        _term(groups, layer, weight, 1)
        for layer in model.keras.layers
        for weight in layer.weights
        if math.prod(weight.shape)
    ]


def mac_terms(model: KerasModel, groups: FilterGroups) -> list[Term]:
    """Terms that add up to the multiply-accumulates of the model, as `macs_by_layer` counts them.

    Raises:
      ValueError: the image size is open, so the number is not defined.
    """
    terms = []
    for name, macs in macs_by_layer(model.keras).items():
        if macs is None:
            raise ValueError("the model takes images of any size: build it for one image shape.")
        layer = model.keras.get_layer(name) if "/" not in name else None
        kernels = [getattr(layer, a) for a in kernel_names(layer).values()] if layer else []
        weights = sum(math.prod(kernel.shape) for kernel in kernels)
        terms += [_term(groups, layer, kernel, macs // weights) for kernel in kernels]
        if macs and not kernels:
            terms.append(Term(macs))  # in a model inside the model, which is not followed
    return terms


def filter_terms(groups: FilterGroups) -> list[Term]:
    """Terms that add up to the filters of the model: output channels of convolutions and Dense layers."""
    return [Term(1, (labels,)) for labels in groups.makers().values()]


def amount(terms: list[Term], kept_units: np.ndarray) -> int:
    """The sum of the terms if only `kept_units`, bool [units], are kept."""
    return sum(t.factor * math.prod(int(kept_units[axis].sum()) for axis in t.axes) for t in terms)


def axes_of(groups: FilterGroups, layer: Any, weight: Any) -> Iterator[tuple[int, np.ndarray]]:
    """The axes of a layer's weight that shrink when units are removed, each with the unit of every channel along it."""
    flow = groups.flows.get(layer.name)
    for (attribute, axis), labels in (flow.weights if flow else {}).items():
        if getattr(layer, attribute, None) is weight:
            yield axis, labels


def _term(groups: FilterGroups, layer: Any, weight: Any, factor: int) -> Term:
    axes = dict(axes_of(groups, layer, weight))
    shape = list(weight.shape)
    for axis in axes:
        shape[axis] = 1
    return Term(factor * math.prod(shape), tuple(axes.values()))


def _slice(groups: FilterGroups, layer: Any, weight: Any, kept_units: np.ndarray) -> np.ndarray:
    array = np.array(weight)
    for axis, labels in axes_of(groups, layer, weight):
        array = np.compress(kept_units[labels], array, axis=axis)
    return array


def _size(before: Any, count: int) -> Any:
    """The new value of a size option: `count`, or a shape that ends in `count`, or in -1 if it did before."""
    if isinstance(before, list | tuple):
        return [*before[:-1], before[-1] if before[-1] == -1 else count]
    return count
