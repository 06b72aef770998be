"""The walk over a model's layers."""

from __future__ import annotations

from compress import backend
from compress.keras_models.layers import every_layer


def test_layers_of_a_nested_model_are_listed_after_that_model() -> None:
    layers, sequential = backend.keras().layers, backend.keras().Sequential
    inside = sequential([layers.ReLU(name="a"), layers.ReLU(name="b")], name="inside")
    model = sequential([layers.ReLU(name="first"), inside, layers.ReLU(name="last")])
    names = [layer.name for layer in every_layer(model)]
    assert names == ["first", "inside", "a", "b", "last"]


def test_a_layer_in_several_nested_models_is_listed_once() -> None:
    layers, sequential = backend.keras().layers, backend.keras().Sequential
    shared = layers.ReLU(name="shared")
    # If every model were walked separately, the layer would be listed 8,192 times.
    for level in range(12):
        sides = [sequential([shared], name=f"{side}{level}") for side in ("left", "right")]
        shared = sequential(sides, name=f"level{level}")
    assert len(list(every_layer(shared))) == 1 + 11 + 24
