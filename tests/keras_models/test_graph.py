"""The graph of a model lists its calls in order and leaves the model unchanged."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from compress import backend
from compress.keras_models.graph import graph_of
from compress.keras_models.model import KerasModel
from compress.keras_models.rebuild import flattened
from support.model_zoo import IMAGE, images, outputs, randomised


def k() -> Any:
    return backend.keras().layers


def called_twice() -> Any:
    """A convolution on an image, the same convolution on its own output, and the sum of both."""
    image, conv = k().Input((8, 8, 3), name="image"), k().Conv2D(3, 1, name="conv")
    once = conv(image)
    return backend.keras().Model(image, k().Add(name="sum")([once, conv(once)]))


def test_calls_are_listed_in_topological_order() -> None:
    model = called_twice()
    graph = graph_of(model)
    assert [call.layer.name for call in graph.calls] == ["conv", "conv", "sum"]
    first, second, total = graph.calls
    assert [id(t) for t in total.inputs] == [id(first.outputs[0]), id(second.outputs[0])]
    assert first.inputs == model.inputs
    assert graph.makers[id(graph.outputs)] is total
    assert graph.users[id(first.outputs[0])] == [second, total]


def test_each_layer_of_a_sequential_is_the_sole_user_of_the_one_before() -> None:
    stack = [k().Input((8, 8, 3)), k().Conv2D(3, 1, name="conv"), k().ReLU(name="relu")]
    graph = graph_of(backend.keras().Sequential(stack))
    assert [call.layer.name for call in graph.calls] == ["conv", "relu"]
    assert graph.sole_user(graph.calls[0]) is graph.calls[1]


def test_reading_a_graph_makes_no_layer_and_draws_no_random_number() -> None:
    model = called_twice()
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    state = random.getstate()  # Keras draws the seed of each initializer from it
    graph = graph_of(model)
    assert random.getstate() == state
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes
    assert {id(call.layer) for call in graph.calls} <= {id(layer) for layer in model.layers}


def test_calls_outside_the_model_are_not_in_its_graph() -> None:
    model = called_twice()
    model.get_layer("conv")(k().Input((8, 8, 3)))
    assert len(graph_of(model).calls) == 3


@pytest.mark.parametrize("built", [True, False])
def test_a_model_that_cannot_be_read_is_refused_in_a_sentence(built: bool) -> None:
    class Own(backend.keras().Model):
        pass

    model = Own(name="odd") if built else backend.keras().Sequential([k().Dense(2)], name="odd")
    with pytest.raises(ValueError, match=r"model 'odd' (is a Own|has no input yet).*: build it"):
        graph_of(model)


def test_a_model_built_on_the_tensors_of_a_nested_model_is_flattened_correctly() -> None:
    image = k().Input(IMAGE, name="image")
    inner = backend.keras().Model(image, k().Conv2D(3, 3, padding="same")(image), name="inner")
    # The input of the inner model is named `image` in both models, but is another tensor in the outer one.
    x = k().Add()([inner(k().ReLU()(k().Conv2D(3, 1)(image))), image])
    model = randomised(backend.keras().Model(image, k().Dense(3)(k().Flatten()(x))))
    flat, notes = flattened(KerasModel(model))
    assert len(notes) == 1
    np.testing.assert_allclose(
        outputs(flat.keras, images()), outputs(model, images()), rtol=1e-5, atol=1e-5
    )
