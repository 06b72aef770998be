"""Multiply-accumulates by layer: summed over calls, prefixed with nested model names, None for an open size."""

from __future__ import annotations

from typing import Any

from compress import backend
from compress.keras_models.macs import macs_by_layer

IMAGE = (6, 6, 2)


def conv(name: str) -> Any:
    return backend.keras().layers.Conv2D(2, 3, padding="same", name=name)


def test_a_shared_layer_costs_its_calls_in_this_model_and_no_others() -> None:
    keras = backend.keras()
    shared, image = conv("shared"), keras.layers.Input(IMAGE, name="image")
    model = keras.Model(image, shared(keras.layers.ReLU(name="relu")(shared(image))))
    shared(keras.layers.Input(IMAGE))
    assert macs_by_layer(model) == {"image": 0, "shared": 2 * 36 * 2 * 18, "relu": 0}


def test_layers_of_a_nested_model_are_named_with_the_model_name() -> None:
    keras = backend.keras()
    inner = keras.Sequential([keras.layers.Input(IMAGE), conv("conv")], name="inner")
    outer = keras.Sequential([keras.layers.Input(IMAGE), inner, conv("conv")])
    assert macs_by_layer(outer) == {"inner/conv": 36 * 36, "conv": 36 * 36}


def test_with_an_open_image_size_only_layers_without_kernels_have_macs() -> None:
    keras = backend.keras()
    image = keras.layers.Input((None, None, 2), name="image")
    assert macs_by_layer(keras.Model(image, conv("conv")(image))) == {"image": 0, "conv": None}


def test_a_subclass_of_sequential_is_counted() -> None:
    keras = backend.keras()

    class Net(keras.Sequential):
        """A Sequential under another class name."""

    assert macs_by_layer(Net([keras.layers.Input(IMAGE), conv("conv")])) == {"conv": 36 * 36}
