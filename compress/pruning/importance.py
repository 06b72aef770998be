"""Importance scores of filters, from their weights or from the change of the loss without them."""

from __future__ import annotations

from typing import Any

import numpy as np

from compress import backend
from compress.keras_models import layers
from compress.keras_models.model import KerasModel
from compress.pruning.dependency_graph import FilterGroups

BATCH = 16  # images whose gradients are averaged before squaring


def sum_by_unit(values: np.ndarray, axis: int, labels: np.ndarray, units: int) -> np.ndarray:
    """The sum of all values of each unit, float64 [units]; 0 for a unit without values.

    Args:
      values: any shape.
      labels: int64, the unit of each place along `axis`.

    >>> sum_by_unit(np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), -1, np.array([0, 0, 2]), 4)
    array([12.,  0.,  9.,  0.])
    """
    rest = tuple(a for a in range(values.ndim) if a != axis % values.ndim)
    return np.bincount(labels, values.sum(axis=rest, dtype=np.float64), minlength=units)


def norm_scores(model: KerasModel, groups: FilterGroups, power: int) -> np.ndarray:
    """The L1 norm (`power` 1) or L2 norm (`power` 2) of all filters of each unit together, float64 [units].

    Li et al. 2017 (https://arxiv.org/abs/1608.08710), who score each filter alone.
    """
    total = np.zeros(groups.units)
    for name, flow in groups.flows.items():
        if flow.makes:
            attribute, axis = flow.makes
            kernel = np.array(getattr(model.keras.get_layer(name), attribute), dtype=np.float64)
            total += sum_by_unit(np.abs(kernel) ** power, axis, flow.outputs, groups.units)
    return total ** (1 / power)


def batchnorm_gamma_scores(model: KerasModel, groups: FilterGroups) -> np.ndarray:
    """The sum of |gamma| over the BatchNormalizations of each unit, float64 [units]; NaN for a unit without gamma.

    Liu et al. 2017 (https://arxiv.org/abs/1708.06519).
    """
    total, has_gamma = np.zeros(groups.units), np.zeros(groups.units, dtype=bool)
    for name, flow in groups.flows.items():
        labels = flow.weights.get(("gamma", -1))
        if labels is not None:
            gamma = np.array(model.keras.get_layer(name).gamma)
            total += sum_by_unit(np.abs(gamma), -1, labels, groups.units)
            has_gamma[labels] = True
    return np.where(has_gamma, total, np.nan)


def taylor_scores(slopes: np.ndarray) -> np.ndarray:
    """The mean over batches of the squared slopes, float64 [units]: estimated changes of the loss without a unit.

    Molchanov et al. 2019 (https://arxiv.org/abs/1906.10771), first order.

    Args:
      slopes: float64 [batches, units], the slope of the loss of a batch when a unit is scaled.

    >>> taylor_scores(np.array([[1.0, 0.0], [-1.0, 2.0]]))
    array([1., 2.])
    """
    return (slopes**2).mean(axis=0)


def gate_gradients(
    model: KerasModel, groups: FilterGroups, images: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Slope of the loss of each batch when the outputs of a unit are scaled: float64 [batches, units].

    Scaling a channel has the same effect as scaling the weights that take it. So the slope is the sum of weight times
    gradient over these weights, in every layer where the channel ends.

    Args:
      images: float32 [n, h, w, c] as the model sees them.
      labels: int64 [n].
    """
    keras, tf = backend.keras(), backend.tensorflow()
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=not layers.gives_probabilities(model.keras)
    )
    ends = [(model.keras.get_layer(n), c) for n, c in groups.flows.items() if c.mixes]
    kernels = [getattr(layer, flow.mixes[0]) for layer, flow in ends if flow.mixes]

    @tf.function
    def gradients(x: Any, y: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([kernel.value for kernel in kernels])
            value = loss(y, model.keras(x, training=False))
        return tape.gradient(value, [kernel.value for kernel in kernels])

    batch = min(BATCH, len(images))
    slopes = np.zeros((len(images) // batch, groups.units))
    for number, row in enumerate(slopes):
        part = slice(number * batch, (number + 1) * batch)
        for (_, flow), kernel, gradient in zip(
            ends, kernels, gradients(images[part], labels[part]), strict=True
        ):
            attribute_axis = flow.mixes
            if attribute_axis and gradient is not None:
                product = np.array(kernel, dtype=np.float64) * np.array(gradient)
                row += sum_by_unit(
                    product, attribute_axis[1], flow.weights[attribute_axis], groups.units
                )
    return slopes
