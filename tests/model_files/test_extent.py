"""The work that Keras would do for an architecture is bounded before Keras does it."""

from __future__ import annotations

from typing import Any

import pytest

from compress.model_files import declared, extent
from support.architectures import Config, functional, image, obj, relus, sequential, tensor

KB = 1000


def said_of(config: Config, size_bytes: int = 100 * KB) -> str:
    with pytest.raises(ValueError, match=r"\w") as caught:
        extent.check_extent(config, size_bytes)
    return str(caught.value)


# Steps


def test_the_allowed_steps_grow_with_the_size_of_the_file() -> None:
    extent.check_extent(functional(image(), *relus(1041)), 2000 * KB)
    extent.check_extent(functional(image(), *relus(5000)), 20_000 * KB)
    assert "takes 30,006 steps to build, expected at most 3,800" in said_of(
        functional(image(), *relus(5000))
    )


def test_the_steps_of_a_sequential_grow_with_the_square_of_its_layers() -> None:
    layers = relus(300)
    assert "functional instead of Sequential" in said_of(sequential(image(), *layers))
    extent.check_extent(sequential(image(), *layers[:80]), 100 * KB)


def test_each_level_of_nesting_almost_doubles_the_steps() -> None:
    def steps(depth: int) -> int:
        config = relus(1)[0]
        for level in range(depth):
            config = sequential(config, name=f"inside{level}")
        return extent._steps(config, 0)[0]

    assert steps(7) > 1.8 * steps(6) > 3 * steps(5)


def test_too_deeply_nested_models_and_wrappers_are_refused() -> None:
    config = relus(1)[0]
    for level in range(4):
        wrapper = obj("TimeDistributed", name=f"over{level}", layer=config)
        config = sequential(wrapper, name=f"inside{level}")
    assert said_of(config) == "layer 'relu0' lies in 8 models and wrappers; save a flatter model"


def test_layers_listed_in_reverse_order_take_more_steps() -> None:
    config = functional(image(), *relus(400))
    extent.check_extent(config, 100 * KB)
    config["config"]["layers"].reverse()
    assert "steps to build" in said_of(config)


def test_every_call_of_a_layer_takes_steps() -> None:
    config = functional(image(), *relus(1), calls=[[], [[tensor("image")]] * 3000])
    assert "steps to build" in said_of(config)


def test_a_shared_layer_may_be_called_on_a_result_of_its_own_output() -> None:
    calls = [[], [[tensor("image")], [tensor("relu1")]], [[tensor("relu0")], [tensor("relu0", 1)]]]
    config = functional(image(), *relus(2), calls=calls)
    extent.check_extent(config, KB)
    assert len(declared.declared(config, legacy=False).activations) == 5


NUMBER = {"class_name": "__tensor__", "config": {"value": 1, "dtype": "float32"}}
HIDDEN = {"class_name": "__slice__", "config": {"start": tensor("image")}}


@pytest.mark.parametrize(
    "arguments", [[], [1.0], [NUMBER], [["image", 0, 0]], [NUMBER, HIDDEN], [{"mask": [NUMBER]}]]
)
def test_a_layer_that_is_called_only_on_constants_is_refused(arguments: list[Any]) -> None:
    config = functional(image(), *relus(1), calls=[[], [arguments]])
    assert said_of(config) == "layer 'relu0' takes no output of a layer; leave it out"


def test_a_layer_may_be_called_on_a_tensor_and_constants() -> None:
    for arguments in (
        [[NUMBER, tensor("image")]],
        [{"x": tensor("image")}],
        [tensor("image"), NUMBER],
    ):
        extent.check_extent(functional(image(), *relus(1), calls=[[], [arguments]]), KB)


def test_calls_in_the_format_of_keras_2_are_counted() -> None:
    config = functional(image(), *relus(2))
    for layer in config["config"]["layers"][1:]:
        histories = [node["args"][0]["config"]["keras_history"] for node in layer["inbound_nodes"]]
        layer["inbound_nodes"] = [[[*history, {}]] for history in histories]
    extent.check_extent(config, KB)


# Shapes, constants and shared objects


def test_a_shape_of_very_many_axes_is_refused() -> None:
    config = sequential(image([1] * 31), relus(1)[0])
    extent.check_extent(config, KB)
    assert "layer 'image' has a shape of more than 32 axes" in said_of(sequential(image([1] * 32)))
    built = relus(1)[0] | {"build_config": {"input_shape": [[None, 3], [1] * 99]}}
    assert "a shape of more than 32 axes" in said_of(sequential(image(), built))


def test_a_layer_may_have_very_many_inputs() -> None:
    built = relus(1)[0] | {"build_config": {"input_shape": [[None, 3]] * 99}}
    extent.check_extent(sequential(image(), built), KB)


@pytest.mark.parametrize("kind", ["__numpy__", "__tensor__"])
def test_a_constant_that_is_not_a_number_is_refused(kind: str) -> None:
    def adding(dtype: Any) -> Config:
        config = functional(image(), *relus(1))
        constant = {"class_name": kind, "config": {"value": [1], "dtype": dtype}}
        config["config"]["layers"][1]["inbound_nodes"][0]["args"].append(constant)
        return config

    extent.check_extent(adding("float32"), KB)
    for dtype in ("U1000000000", "object", None, ["float32"]):
        assert "a constant in it is not a number" in said_of(adding(dtype))


def test_objects_with_the_same_shared_id_must_have_the_same_config() -> None:
    def shared(first: Config, second: Config, number: Any = 140) -> Config:
        layers = [obj("Dense", name=n, units=3) for n in "ab"]
        for layer, kernel in zip(layers, (first, second), strict=True):
            initializer = obj("RandomNormal", "keras.initializers", **kernel)
            layer["config"]["kernel_initializer"] = initializer | {"shared_object_id": number}
        return sequential(image(), *layers)

    extent.check_extent(shared({"seed": 1}, {"seed": 1}), KB)
    assert "shares its object with a layer that differs" in said_of(
        shared({"seed": 1}, {"seed": 2})
    )
    assert "shares its object with a layer that differs" in said_of(shared({}, {}, number="140"))
