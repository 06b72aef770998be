"""Importance scores of filters match sums worked out by hand and finite differences of the loss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.keras_models.model import KerasModel
from compress.pruning.dependency_graph import FilterGroups, build_dependency_graph
from compress.pruning.importance import (
    batchnorm_gamma_scores,
    gate_gradients,
    norm_scores,
    sum_by_unit,
    taylor_scores,
)
from support import filter_models as zoo


@given(st.integers(0, 99), st.integers(-3, -1))
def test_sums_by_unit_add_up_to_the_whole(seed: int, axis: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.random((3, 4, 5))
    labels = rng.integers(0, 6, values.shape[axis])
    sums = sum_by_unit(values, axis, labels, 7)
    assert sums.shape == (7,)
    assert sums.sum() == pytest.approx(values.sum())
    moved = np.moveaxis(values, axis, 0)
    np.testing.assert_allclose(sums, [moved[labels == unit].sum() for unit in range(7)])


def test_a_norm_score_covers_all_filters_of_a_unit() -> None:
    model = zoo.model_of(zoo.residual)
    groups = build_dependency_graph(model.keras)
    units = groups.makers()["first"]
    filters = np.concatenate(
        [k.reshape(-1, 6) for n, k in model.kernels().items() if n != "scores"]
    )
    np.testing.assert_allclose(
        norm_scores(model, groups, 1)[units], np.abs(filters).sum(axis=0), rtol=1e-5
    )
    np.testing.assert_allclose(
        norm_scores(model, groups, 2)[units], np.linalg.norm(filters, axis=0), rtol=1e-5
    )


def test_norm_scores_use_the_filter_axes_of_transposed_and_separable_kernels() -> None:
    model = zoo.model_of(zoo.separable)
    groups, kernels = build_dependency_graph(model.keras), model.kernels()
    scores = norm_scores(model, groups, 2)
    of = groups.makers()
    np.testing.assert_allclose(
        scores[of["transposed"]],
        np.sqrt((kernels["transposed"].astype(float) ** 2).sum(axis=(0, 1, 3))),
    )
    np.testing.assert_allclose(
        scores[of["separable"]],
        np.sqrt((kernels["separable/pointwise_kernel"].astype(float) ** 2).sum(axis=(0, 1, 2))),
    )


def test_gamma_scores_are_nan_for_units_without_batch_normalization() -> None:
    model = zoo.model_of(zoo.plain)
    groups = build_dependency_graph(model.keras)
    scores = batchnorm_gamma_scores(model, groups)
    gamma = np.abs(model.keras.get_layer("norm").get_weights()[0])
    np.testing.assert_allclose(scores[groups.makers()["first"]], gamma, rtol=1e-6)
    assert np.isnan(scores[groups.makers()["second"]]).all()


def test_taylor_scores_do_not_cancel_across_batches() -> None:
    assert taylor_scores(np.array([[1.0, 0.1], [-1.0, 0.1]])).tolist() == [1.0, pytest.approx(0.01)]


def scaled(model: KerasModel, groups: FilterGroups, unit: int, factor: float) -> KerasModel:
    """A copy in which every layer that reads the unit's channels reads them multiplied by `factor`."""
    copy = model.copy()
    for name, flow in groups.flows.items():
        if flow.mixes:
            attribute, axis = flow.mixes
            variable = getattr(copy.keras.get_layer(name), attribute)
            factors = np.where(flow.weights[flow.mixes] == unit, factor, 1.0)
            array = np.moveaxis(np.array(variable), axis, -1) * factors
            variable.assign(np.moveaxis(array, -1, axis))
    return copy


def loss(model: KerasModel, images: np.ndarray, labels: np.ndarray) -> float:
    logits = np.array(model.keras(images, training=False), dtype=np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    log = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return float(-log[np.arange(len(labels)), labels].mean())


@pytest.mark.parametrize("body", [zoo.plain, zoo.residual, zoo.depthwise, zoo.flattened])
def test_gate_gradients_match_finite_differences_of_the_loss(
    body: Callable[..., object],
) -> None:
    model = zoo.model_of(body)
    for variable in model.kernel_variables().values():
        variable.assign(np.array(variable) * 0.2)  # small logits, for which the loss is smooth
    groups = build_dependency_graph(model.keras)
    rng = np.random.default_rng(0)
    images = rng.random((16, *zoo.IMAGE), dtype=np.float32)
    labels = rng.integers(0, 3, 16)
    (slopes,) = gate_gradients(model, groups, images, labels)
    units = np.concatenate(list(groups.groups().values()))
    step = 1e-2
    expected = [
        (
            loss(scaled(model, groups, unit, 1 + step), images, labels)
            - loss(scaled(model, groups, unit, 1 - step), images, labels)
        )
        / (2 * step)
        for unit in units.tolist()
    ]
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(slopes[units], expected, rtol=0.03, atol=2e-4)


def test_a_filter_with_zero_output_has_a_zero_gate_gradient() -> None:
    model = zoo.model_of(zoo.flattened)
    groups = build_dependency_graph(model.keras)
    kept = zoo.some(groups, seed=0)
    images = np.random.default_rng(0).random((32, *zoo.IMAGE), dtype=np.float32)
    slopes = gate_gradients(zoo.silenced(model, groups, kept), groups, images, np.arange(32) % 3)
    assert slopes.shape == (2, groups.units)
    assert not slopes[:, ~kept].any()
    assert slopes[:, kept].any()
