"""Kernels of an exported file are matched to the Keras layers that they come from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress import backend
from compress.keras_models.model import KerasModel
from compress.tflite import contents
from compress.tflite.flatbuffer import read
from compress.tflite.kernel_matching import StoredKernel, match
from support.tflite_examples import (
    drawn,
    export,
    int8,
    three_layers_model,
)


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
def test_kernels_of_equal_shape_are_matched_to_layers_in_a_branching_graph(
    quantized: bool, backwards: bool
) -> None:
    layers = backend.keras().layers
    image = layers.Input((6, 6, 4))

    def branch(name: str, x: Any) -> Any:
        x = layers.Conv2D(4, 3, padding="same", name=name, use_bias=False)(x)
        return layers.BatchNormalization(name=f"norm_{name}")(x)

    left, right = branch("left", image), layers.ReLU()(branch("right", image))
    model = drawn(backend.keras().Model(image, branch("join", layers.Add()([right, left]))))
    images = np.random.default_rng(0).random((8, 6, 6, 4), np.float32)
    content = export(model, int8(images) if quantized else lambda converter: None)
    kernels = KerasModel(model).kernels()
    asked = dict(reversed(kernels.items())) if backwards else kernels
    matched = contents.matched_kernels(read(content), asked)
    scales = {s.tensor.name: s.tensor.scales or (1.0,) for s in contents.stored_tensors(content)}
    assert list(matched) == list(asked)
    for name, found in matched.items():
        gamma, _, _, variance = model.get_layer(f"norm_{name}").get_weights()
        factor = gamma / np.sqrt(variance + 1e-3)  # positive or negative
        assert (factor < 0).any() or name != "left"
        (step,) = [
            np.array(scales[k.name])
            for k in contents.kernels(content)
            if np.array_equal(k.values, found)
        ]
        tolerance = step * 0.501 if quantized else 1e-5
        assert (np.abs(found * step - kernels[name] * factor) <= tolerance).all()


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.booleans())
def test_matching_works_for_any_order_and_any_factor_per_channel(
    seed: int, layers: int, rounded: bool
) -> None:
    rng = np.random.default_rng(seed)
    keras_kernels = {f"layer{i}": rng.normal(size=(3, 3, 4, 8)) for i in range(layers)}
    order = rng.permutation(layers)
    stored = []
    for i in order:
        values = keras_kernels[f"layer{i}"] * rng.uniform(0.1, 10, 8) * rng.choice([-1, 1], 8)
        if rounded:
            values = np.rint(values / np.abs(values).max(axis=(0, 1, 2)) * 7)  # as int4 would
        stored.append(StoredKernel(f"t{i}", "CONV_2D", "float32", values, (3,)))
    found = match(stored, keras_kernels)
    for i in range(layers):
        place = int(np.flatnonzero(order == i)[0])
        assert np.array_equal(found[f"layer{i}"], stored[place].values)


def test_matching_works_if_most_channels_were_multiplied_by_0() -> None:
    rng = np.random.default_rng(0)
    kernels = {name: rng.normal(size=(3, 3, 4, 8)) for name in ("first", "second")}
    wiped = [StoredKernel(n, "CONV_2D", "float32", k.copy(), (3,)) for n, k in kernels.items()]
    for kernel in wiped:
        kernel.values[..., 1:] = 0  # seven of eight channels carry no information
    found = match(wiped[::-1], kernels)
    assert np.array_equal(found["first"], wiped[0].values)
    assert np.array_equal(found["second"], wiped[1].values)


def test_equal_kernels_and_kernels_with_zero_channels_are_matched() -> None:
    zero, half = np.zeros((2, 2, 1, 4)), np.zeros((2, 2, 1, 4))
    half[..., :2] = np.random.default_rng(0).normal(size=(2, 2, 1, 2))
    dead = half * [1, 0, 1, 1]  # a factor of 0 leaves a channel of zeros
    stored = [StoredKernel(n, "CONV_2D", "float32", v, (3,)) for n, v in [("d", dead), ("z", zero)]]
    found = match(stored, {"pruned": zero, "alive": half})
    assert np.array_equal(found["alive"], dead)
    assert np.array_equal(found["pruned"], zero)
    one = [StoredKernel(n, "CONV_2D", "float32", half, (3,)) for n in "ab"]
    assert match(one, {"first": half, "second": half}).keys() == {"first", "second"}


def test_a_layer_without_a_kernel_in_the_file_is_named() -> None:
    model = three_layers_model()
    three_layers_file, kernels = export(model), KerasModel(model).kernels()
    more = kernels | {"extra": np.ones((3, 3, 2, 4), np.float32)}
    with pytest.raises(ValueError, match="no kernel for layer 'extra' of shape"):
        contents.matched_kernels(read(three_layers_file), more)
    other = {k: np.random.default_rng(9).normal(size=v.shape) for k, v in kernels.items()}
    with pytest.raises(ValueError, match="was it exported from this model"):
        contents.matched_kernels(read(three_layers_file), other)


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_nan_weights_of_a_layer_are_named_and_other_layers_are_matched(odd: float) -> None:
    whole = np.random.default_rng(0).normal(size=(3, 3, 1, 2))
    broken = whole.copy()
    broken[0, 0, 0, 0] = odd
    stored = [
        StoredKernel(n, "CONV_2D", "float32", v, (3,))
        for n, v in zip("bw", (broken, whole), strict=True)
    ]
    with pytest.raises(ValueError, match="layer 'first' has NaN or infinite weights"):
        match(stored, {"first": broken})
    assert np.array_equal(match(stored, {"first": whole})["first"], whole)
