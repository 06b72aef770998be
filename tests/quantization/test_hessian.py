"""Moments describe the inputs of a kernel: with its weights they give the mean square of the layer's output."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compress import backend
from compress.keras_models.model import KerasModel
from compress.quantization import hessian
from compress.quantization.hessian import input_moments as moments_of

LAYERS = {
    "plain": ("Conv2D", (5, 3), {}),
    "oblong": ("Conv2D", (5, (1, 3)), {"padding": "same"}),
    "strided": ("Conv2D", (5, 3), {"strides": 2, "padding": "same"}),
    "dilated": ("Conv2D", (5, 3), {"dilation_rate": 2}),
    "dense": ("Dense", (5,), {}),
}


def model_of(
    kind: str, *options: Any, shape: tuple[int, ...] = (7, 8, 3), **more: Any
) -> KerasModel:
    """A Dense layer on the channels, then the layer under test, named "mine", without a bias."""
    keras = backend.keras()
    keras.utils.set_random_seed(0)
    first = keras.layers.Dense(4, activation="relu", name="first")
    mine = getattr(keras.layers, kind)(*options, name="mine", use_bias=False, **more)
    return KerasModel(keras.Sequential([keras.Input(shape), first, mine]))


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def check_law(model: KerasModel, seen: np.ndarray) -> None:
    moments = moments_of(model, "mine", seen)
    assert moments is not None
    kernel = model.kernels()["mine"]
    rows = kernel.reshape(-1, kernel.shape[-1]).astype(np.float64)
    given = model.keras(seen, training=False).numpy().reshape(-1, kernel.shape[-1])
    np.testing.assert_allclose(
        np.einsum("io,ij,jo->o", rows, moments, rows), np.square(given).mean(axis=0), rtol=1e-4
    )


@pytest.mark.parametrize("name", LAYERS)
def test_mean_square_of_the_output_follows_from_weights_and_moments(name: str) -> None:
    kind, options, more = LAYERS[name]
    # More images than one batch; the last batch is smaller.
    check_law(model_of(kind, *options, **more), images(hessian.BATCH + 3, 7, 8, 3))


def test_a_conv1d_kernel_has_moments() -> None:
    model = model_of("Conv1D", 5, 3, shape=(9, 3), strides=2, padding="same")
    check_law(model, images(4, 9, 3))


def test_moments_of_a_shared_layer_are_those_of_its_first_call() -> None:
    keras = backend.keras()
    image = keras.Input((6, 6, 3))
    shared = keras.layers.Conv2D(3, 3, padding="same", name="mine")
    model = KerasModel(keras.Model(image, shared(shared(image))))
    alone = KerasModel(
        keras.Sequential([image, keras.layers.Conv2D(3, 3, padding="same", name="mine")])
    )
    seen = images(5, 6, 6, 3)
    np.testing.assert_allclose(
        np.array(moments_of(model, "mine", seen)), np.array(moments_of(alone, "mine", seen))
    )


@pytest.mark.parametrize(
    ("kind", "options", "more"),
    [
        ("Conv2D", (4, 3), {"groups": 2}),
        ("DepthwiseConv2D", (3,), {}),
        ("Conv2DTranspose", (4, 3), {}),
    ],
)
def test_grouped_depthwise_transposed_kernels_have_no_moments(
    kind: str, options: Any, more: dict[str, Any]
) -> None:
    model = model_of(kind, *options, **more)
    for name in model.kernels():
        if name != "first":
            assert moments_of(model, name, images(2, 7, 8, 3)) is None


def test_causal_convolutions_and_too_many_inputs_have_no_moments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    causal = model_of("Conv1D", 5, 3, shape=(9, 3), padding="causal")
    assert moments_of(causal, "mine", images(2, 9, 3)) is None
    model = model_of("Dense", 5)
    monkeypatch.setattr(hessian, "MAX_INPUTS", 3)
    assert moments_of(model, "mine", images(2, 7, 8, 3)) is None
    assert moments_of(model, "first", images(2, 7, 8, 3)) is not None
