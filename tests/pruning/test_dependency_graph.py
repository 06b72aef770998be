"""Following channels: tied channels form one group, and layers that cannot be followed stay whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compress import backend
from compress.findings import Finding
from compress.keras_models.model import KerasModel
from compress.pruning.dependency_graph import build_dependency_graph
from compress.pruning.layer_rules import ChannelUnionFind, Hold
from support import filter_models as zoo


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (zoo.plain, {"first": 6, "second": 5}),
        (zoo.residual, {"first+second+third": 6}),
        (zoo.dense_block, {"first": 4, "second": 5, "third": 4}),
        (zoo.depthwise, {"first": 6, "second": 4}),
        (zoo.grouped, {"first": 4, "groups": 6}),  # a unit is a filter in each of two groups
        (zoo.separable, {"first": 4, "separable": 6, "transposed": 5}),
        (zoo.flattened, {"first": 4, "hidden": 6}),
        (zoo.reshaped, {"first": 4, "line": 6, "separable": 5}),
        (zoo.squeeze, {"first+more": 6, "less": 4}),
        (zoo.shared, {"twice": 5, "left+right": 5}),
        (zoo.heads, {"first": 6}),
    ],
)  # fmt: skip
def test_layers_with_tied_channels_form_one_group(body: Any, expected: dict[str, int]) -> None:
    assert zoo.units_of(zoo.model_of(body)) == expected


def test_the_graph_of_the_example_in_the_docstring_matches_its_drawing() -> None:
    k = backend.keras().layers
    image = k.Input(zoo.IMAGE, name="image")
    x = k.BatchNormalization(name="norm")(zoo.conv(k, 4, "conv1")(image))
    groups = build_dependency_graph(backend.keras().Model(image, zoo.conv(k, 2, "conv2")(x)))
    drawn = {
        name: {axis: units.tolist() for axis, units in flow.weights.items()}
        for name, flow in groups.flows.items()
    }
    image_units, units, output_units = [0, 1, 2], [3, 4, 5, 6], [7, 8]
    norm = ("gamma", "beta", "moving_mean", "moving_variance")
    assert drawn == {
        "conv1": {("kernel", -2): image_units, ("kernel", -1): units, ("bias", -1): units},
        "norm": {(name, -1): units for name in norm},
        "conv2": {("kernel", -2): units, ("kernel", -1): output_units, ("bias", -1): output_units},
    }
    assert {name: units.tolist() for name, units in groups.groups().items()} == {"conv1": units}
    assert sorted(groups.held) == [*image_units, *output_units]


def test_channels_of_a_sequential_model_are_followed() -> None:
    assert zoo.units_of(zoo.sequential()) == {"first": 6}


def test_filters_that_are_added_belong_to_one_unit() -> None:
    groups = build_dependency_graph(zoo.model_of(zoo.residual).keras)
    first, second, third = (groups.makers()[n] for n in ("first", "second", "third"))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)
    assert len(set(first.tolist())) == 6


def test_a_layer_added_to_a_concatenation_is_split_into_two_groups() -> None:
    def body(k: Any, x: Any) -> Any:
        parts = [zoo.conv(k, 2, "few")(x), zoo.conv(k, 3, "more")(x)]
        return k.Add()([k.Concatenate()(parts), zoo.conv(k, 5, "all")(x)])

    assert zoo.units_of(zoo.functional(body)) == {"few+all": 2, "more+all": 3}


@pytest.mark.parametrize("layers", [("Softmax",), ("Dropout", "Softmax"), ()])
def test_the_last_layer_stays_whole_without_a_reason(layers: tuple[str, ...]) -> None:
    k = backend.keras().layers
    extra = {"Softmax": k.Softmax(), "Dropout": k.Dropout(0.1)}
    scores = k.Dense(3, activation=None if layers else "softmax", name="scores")
    stack = [k.Input((6, 6, 3)), k.Conv2D(4, 3, name="conv"), k.GlobalAveragePooling2D(), scores]
    stack += [extra[name] for name in layers]
    groups = build_dependency_graph(backend.keras().Sequential(stack))
    assert list(groups.groups()) == ["conv"]
    assert groups.reasons() == {}


def test_a_layer_that_is_not_followed_keeps_the_layer_before_it_whole() -> None:
    def body(k: Any, x: Any) -> Any:
        x = zoo.conv(k, 8, "free")(x)
        x = zoo.conv(k, 4, "before")(x)
        return zoo.conv(k, 6, "after")(k.Permute((2, 1, 3), name="turned")(x))

    groups = build_dependency_graph(zoo.functional(body).keras)
    assert list(groups.groups()) == ["free", "after"]
    (finding,) = groups.reasons().values()
    assert finding.clause == "before stays whole: 'turned' (Permute) is not followed"
    assert finding.layers == ("before", "turned")


@pytest.mark.parametrize(
    "make",
    [
        lambda k: k.LayerNormalization(name="mixed"),
        lambda k: k.Softmax(name="mixed"),
        lambda k: k.Activation("softmax", name="mixed"),
        lambda k: k.BatchNormalization(axis=1, name="mixed"),
        lambda k: k.Reshape((8, 8, 2, 2), name="mixed"),
        lambda k: lambda x: backend.keras().src.ops.numpy.Reshape((-1, 8, 8, 4), name="mixed")(x),
        lambda k: lambda x: backend.keras().src.ops.numpy.Average(axis=1, name="mixed")(x),
        lambda k: k.Rescaling([1.0, 2.0, 3.0, 4.0], name="mixed"),
        lambda k: k.Dropout(0.1, noise_shape=(None, 1, 1, 4), name="mixed"),
        lambda k: k.Conv2D(4, 1, data_format="channels_first", name="mixed"),
    ],
)  # fmt: skip
def test_layers_that_mix_or_fix_channels_are_not_followed(make: Any) -> None:
    k = backend.keras().layers
    image = k.Input(zoo.IMAGE)
    x = k.Flatten()(make(k)(zoo.conv(k, 4, "before")(image)))
    groups = build_dependency_graph(backend.keras().Model(image, k.Dense(2)(x)))
    assert "before" not in groups.groups()
    assert groups.reasons()["before"].layers == ("before", "mixed")


def test_a_custom_layer_with_the_name_of_a_keras_layer_is_not_followed() -> None:
    keras = backend.keras()

    class ReLU(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x[..., ::-1]

    k = keras.layers
    image = k.Input(zoo.IMAGE)
    x = ReLU(name="own")(zoo.conv(k, 4, "before")(image))
    groups = build_dependency_graph(keras.Model(image, k.Dense(2)(k.Flatten()(x))))
    reason = "stays whole: 'own' (ReLU) is not followed"
    assert groups.reasons() == {"before": Finding(("before", "own"), reason, subject="before")}


def test_a_shared_layer_stays_whole_if_one_of_its_calls_is_not_followed() -> None:
    def body(k: Any, x: Any) -> Any:
        twice, x = zoo.conv(k, 4, "twice"), zoo.conv(k, 4, "first")(x)
        once = k.GlobalAveragePooling2D()(twice(x))
        again = k.GlobalAveragePooling2D()(twice(k.Permute((2, 1, 3), name="turned")(x)))
        joined = k.Concatenate()([once, k.LayerNormalization(name="mixed")(again)])
        return k.Dense(2, name="scores")(joined)

    assert zoo.units_of(zoo.functional(body, head=False)) == {}


def test_output_layers_and_skipped_layers_stay_whole_without_a_reason() -> None:
    model = zoo.model_of(zoo.heads)
    groups = build_dependency_graph(model.keras).holding(("first",))
    assert groups.groups() == {}
    assert groups.reasons() == {}


def test_a_layer_that_is_added_to_the_image_stays_whole() -> None:
    def body(k: Any, x: Any) -> Any:
        return k.Add()([x, zoo.conv(k, 3, "same")(x)])

    why = "stays whole: it is computed with the model's input"
    assert build_dependency_graph(zoo.functional(body).keras).reasons() == {
        "same": Finding(("same",), why, subject="same")
    }


def test_a_layer_partly_added_to_the_image_keeps_those_filters() -> None:
    def body(k: Any, x: Any) -> Any:
        wide = zoo.conv(k, 7, "wide")(x)
        return k.Add()([wide, k.Concatenate()([x, zoo.conv(k, 4, "part")(x)])])

    groups = build_dependency_graph(zoo.functional(body).keras)
    assert {len(units) for units in groups.groups().values()} == {4}
    assert groups.reasons()["wide"].reason.startswith("keeps 3 filters: ")


def test_building_the_graph_changes_nothing_in_the_model() -> None:
    model = zoo.model_of(zoo.shared)
    before = [w.copy() for w in model.keras.get_weights()]
    nodes = [len(layer._inbound_nodes) for layer in model.keras.layers]
    build_dependency_graph(model.keras)
    assert nodes == [len(layer._inbound_nodes) for layer in model.keras.layers]
    for old, new in zip(before, model.keras.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_model_whose_layers_cannot_be_read_is_refused() -> None:
    class Own(backend.keras().Model):
        pass

    with pytest.raises(ValueError, match="is a Own, whose layers cannot be read: build it as"):
        build_dependency_graph(Own())


def test_a_layer_before_a_nested_model_stays_whole() -> None:
    keras = backend.keras()
    inner = keras.Sequential(
        [keras.layers.Input((8, 8, 4)), zoo.conv(keras.layers, 4)], name="inner"
    )

    def body(k: Any, x: Any) -> Any:
        return zoo.conv(k, 6, "after")(inner(zoo.conv(k, 4, "before")(x)))

    groups = build_dependency_graph(zoo.functional(body).keras)
    assert list(groups.groups()) == ["after"]
    reason = "stays whole: 'inner' (Sequential) is not followed"
    assert groups.reasons() == {"before": Finding(("before", "inner"), reason, subject="before")}


def test_ties_pass_on_a_hold_and_keep_its_first_reason() -> None:
    channels = ChannelUnionFind()
    a, b, c = channels.new(2), channels.new(2), channels.new(2)
    first, second = Hold("first"), Hold("second")
    channels.hold(c, first)
    channels.tie(a, b)
    channels.tie(b, c)
    channels.hold(a, second)
    assert [channels.root(label) for label in c.tolist()] == [0, 1]
    assert channels.held == {0: first, 1: first}
    assert channels.roots() == [0, 1, 0, 1, 0, 1]


def test_a_model_can_be_saved_and_copied_after_its_graph_was_built(tmp_path: Any) -> None:
    model = zoo.model_of(zoo.plain)
    build_dependency_graph(model.keras)
    model.save(tmp_path / "model.keras")
    saved = backend.keras().models.load_model(tmp_path / "model.keras")
    assert KerasModel(saved).digest == model.copy().digest == model.digest
