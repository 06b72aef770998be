"""Comparison of a Keras 3 model with its tf_keras twin: outputs and weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from compress import backend
from compress.tfmot import bridge

IMAGE = (8, 8, 3)
ROW = (8, 4)


def keras() -> Any:
    return backend.keras()


def alone(shape: tuple[int, ...], layer: Any) -> Any:
    image = keras().layers.Input(shape)
    return randomised(keras().Model(image, layer(image)))


def randomised(model: Any) -> Any:
    """The model with all weights drawn from [-1, 1], or from [0.5, 1] if they must be positive."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        low = 0.5 if "variance" in variable.path else -1.0
        variable.assign(rng.uniform(low, 1, variable.shape).astype(np.float32))
    return model


def inputs_of(model: Any) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(size=(2, *t.shape[1:])).astype(np.float32) for t in model.inputs]


def outputs(model: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    given = model(arrays if len(arrays) > 1 else arrays[0], training=False)
    values = given.values() if isinstance(given, dict) else given
    return [v.numpy() for v in (values if isinstance(given, dict | list | tuple) else [given])]


def assert_twins(model: Any) -> Any:
    arrays = inputs_of(model)
    before = [w.copy() for w in model.get_weights()]
    twin = bridge.twin(model)
    for ours, theirs in zip(outputs(model, arrays), outputs(twin, arrays), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    for layer in model.layers:
        for old, new in zip(
            layer.get_weights(), twin_weights(twin, layer.name, len(layer.weights)), strict=True
        ):
            np.testing.assert_array_equal(old, new)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    return twin


def twin_weights(twin: Any, layer: str, count: int) -> list[np.ndarray]:
    return twin.get_layer(layer).get_weights() if count else []
