"""Surgery: removing filters with zero output changes no output; sizes agree with the formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from compress import backend
from compress.keras_models.model import KerasModel
from compress.measurement.layer_table import layer_table
from compress.pruning.dependency_graph import build_dependency_graph
from compress.pruning.surgery import (
    amount,
    filter_terms,
    mac_terms,
    parameter_terms,
    without_filters,
)
from support import filter_models as zoo

MODELS: list[Callable[[], KerasModel]] = [
    *((lambda body=body: zoo.model_of(body)) for body in zoo.BODIES),
    zoo.sequential,
]
NAMES = [*(body.__name__ for body in zoo.BODIES), "sequential"]
every_structure = pytest.mark.parametrize("make", MODELS, ids=NAMES)


def check_laws(model: KerasModel, seed: int) -> None:
    """Check the properties that hold for any model and any choice of units."""
    groups = build_dependency_graph(model.keras)
    kept = zoo.some(groups, seed)
    silent = zoo.silenced(model, groups, kept)
    before = [w.copy() for w in silent.keras.get_weights()]
    smaller = without_filters(silent, groups, kept)
    for old, new in zip(zoo.outputs(silent), zoo.outputs(smaller), strict=True):
        np.testing.assert_allclose(old, new, rtol=1e-3, atol=1e-4)
    assert smaller.params == amount(parameter_terms(model, groups), kept)
    assert layer_table(smaller)[-1]["macs"] == amount(mac_terms(model, groups), kept)
    everything = np.ones(groups.units, dtype=bool)
    assert model.params == amount(parameter_terms(model, groups), everything)
    assert layer_table(model)[-1]["macs"] == amount(mac_terms(model, groups), everything)
    assert [o.shape for o in zoo.outputs(model)] == [o.shape for o in zoo.outputs(smaller)]
    for old, new in zip(before, silent.keras.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@every_structure
def test_removing_filters_with_zero_output_changes_no_output(
    make: Callable[[], KerasModel],
) -> None:
    model = make()
    assert build_dependency_graph(model.keras).groups() != {}
    check_laws(model, seed=3)


STEPS = ("conv", "norm", "relu", "depthwise", "add", "concatenate", "shared", "separable", "plus")


def built(steps: list[tuple[str, int, int]]) -> KerasModel:
    """A graph of these steps: each step uses one or two of the earlier tensors and adds one."""
    k = backend.keras().layers
    image = k.Input(zoo.IMAGE)
    tensors = [zoo.conv(k, 4)(image)]
    reused = zoo.conv(k, 4)
    for kind, one, other in steps:
        x, y = tensors[-1 - one % len(tensors)], tensors[-1 - other % len(tensors)]
        same = x.shape[-1] == y.shape[-1]
        if kind == "norm":
            made = k.BatchNormalization()(x)
        elif kind == "relu":
            made = k.ReLU()(x)
        elif kind == "depthwise":
            made = k.DepthwiseConv2D(3, padding="same", depth_multiplier=1 + other % 2)(x)
        elif kind == "separable":
            made = k.SeparableConv2D(3 + other, 3, padding="same")(x)
        elif kind == "add" and same:
            made = k.Add()([x, y])
        elif kind == "plus" and same:
            made = x + y
        elif kind == "concatenate" and x.shape[-1] + y.shape[-1] < 20:
            made = k.Concatenate()([x, y])
        elif kind == "shared" and x.shape[-1] == 4:
            made = reused(x)
        else:
            made = zoo.conv(k, 3 + other)(x)
        tensors.append(made)
    last = k.Flatten()(tensors[-1]) if steps[0][1] % 2 else k.GlobalMaxPooling2D()(tensors[-1])
    return zoo.drawn(backend.keras().Model(image, k.Dense(2)(last)), seed=len(steps))


@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # no shrinking: an example takes 0.5 s
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    st.lists(
        st.tuples(st.sampled_from(STEPS), st.integers(0, 3), st.integers(0, 3)),
        min_size=3,
        max_size=7,
    )
)
def test_surgery_keeps_outputs_and_predicted_sizes_on_random_graphs(
    steps: list[tuple[str, int, int]],
) -> None:
    check_laws(built(steps), seed=len(steps))


def test_weights_of_kept_filters_are_unchanged() -> None:
    model = zoo.model_of(zoo.plain)
    groups = build_dependency_graph(model.keras)
    kept = zoo.some(groups, seed=0)
    smaller = without_filters(model, groups, kept)
    first, second = (groups.makers()[name] for name in ("first", "second"))
    np.testing.assert_array_equal(
        smaller.kernels()["second"],
        model.kernels()["second"][:, :, kept[first]][..., kept[second]],
    )
    for old, new in zip(
        model.keras.get_layer("norm").get_weights(),
        smaller.keras.get_layer("norm").get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(new, old[kept[first]])
    assert [layer.name for layer in smaller.keras.layers] == [
        layer.name for layer in model.keras.layers
    ]


def test_removing_a_filter_with_nonzero_output_changes_the_output() -> None:
    model = zoo.model_of(zoo.plain)
    groups = build_dependency_graph(model.keras)
    smaller = without_filters(model, groups, zoo.some(groups, seed=0))
    assert not np.allclose(zoo.outputs(model)[0], zoo.outputs(smaller)[0])


def test_filters_macs_and_parameters_match_values_worked_out_by_hand() -> None:
    """Conv 3x3 of 6 filters on 8x8x3, Flatten, Dense of 3; then with 4 of the filters."""
    model = zoo.sequential()
    groups = build_dependency_graph(model.keras)
    kept = np.ones(groups.units, dtype=bool)
    kept[groups.makers()["first"][[1, 4]]] = False
    assert amount(filter_terms(groups), kept) == 4 + 3
    assert amount(mac_terms(model, groups), kept) == 64 * 27 * 4 + 64 * 4 * 3
    assert amount(parameter_terms(model, groups), kept) == 28 * 4 + 4 * 4 + 64 * 4 * 3 + 3


def test_an_open_image_size_has_no_macs_but_can_be_rebuilt() -> None:
    k = backend.keras().layers
    image = k.Input((None, None, 3))
    x = k.GlobalAveragePooling2D()(zoo.conv(k, 4, "first")(image))
    model = zoo.drawn(backend.keras().Model(image, k.Dense(2)(x)))
    groups = build_dependency_graph(model.keras)
    with pytest.raises(ValueError, match="images of any size: build it for one image shape"):
        mac_terms(model, groups)
    smaller = without_filters(model, groups, zoo.some(groups, seed=0))
    assert smaller.kernels()["first"].shape[-1] < 4


def test_a_nested_model_is_counted_and_copied_whole() -> None:
    keras = backend.keras()
    inner = keras.Sequential(
        [keras.layers.Input((8, 8, 4)), zoo.conv(keras.layers, 4)], name="inner"
    )

    def body(k: Any, x: Any) -> Any:
        return zoo.conv(k, 6, "after")(inner(zoo.conv(k, 4, "before")(x)))

    check_laws(zoo.functional(body), seed=0)


@pytest.mark.parametrize("made", ["normalization", "lambda"])
def test_normalization_and_lambda_layers_are_copied_whole(made: str) -> None:
    """Normalization computes with copies of its weights; a Lambda's configuration is code."""
    k = backend.keras().layers
    if made == "lambda":
        layer = k.Lambda(lambda x: 2 * x - 1)
    else:
        layer = k.Normalization()
        layer.adapt(np.random.default_rng(0).normal(5, 3, (16, *zoo.IMAGE)))
    image = k.Input(zoo.IMAGE)
    x = k.GlobalAveragePooling2D()(zoo.conv(k, 4, "first")(layer(image)))
    model = KerasModel(backend.keras().Model(image, k.Dense(2)(x)))
    groups = build_dependency_graph(model.keras)
    same = without_filters(model, groups, np.ones(groups.units, dtype=bool))
    np.testing.assert_allclose(zoo.outputs(same)[0], zoo.outputs(model)[0], rtol=1e-5)
