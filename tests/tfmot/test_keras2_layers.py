"""The Keras 2 twin of each layer computes the same as the layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compress.keras_models.layer_kinds import KINDS
from compress.tfmot import bridge, keras2_layers
from support.twins import IMAGE, ROW, alone, assert_twins, keras

Layers = Any

# One layer of each kind and option: input shape, layer.
ALONE: dict[str, tuple[tuple[int, ...], Callable[[Layers], Any]]] = {
    "Activation": (IMAGE, lambda k: k.Activation("swish")),
    "AveragePooling1D": (ROW, lambda k: k.AveragePooling1D(3, padding="same")),
    "AveragePooling2D": (IMAGE, lambda k: k.AveragePooling2D(3, 2, padding="same")),
    "BatchNormalization": (IMAGE, lambda k: k.BatchNormalization(epsilon=0.01, momentum=0.8)),
    "BatchNormalization bare": (IMAGE, lambda k: k.BatchNormalization(scale=False, center=False)),
    "Conv1D": (ROW, lambda k: k.Conv1D(5, 3, padding="causal")),
    "Conv2D": (IMAGE, lambda k: k.Conv2D(5, 3, 2, padding="same", activation="relu")),
    "Conv2D dilated": (IMAGE, lambda k: k.Conv2D(5, (3, 2), dilation_rate=2, use_bias=False)),
    "Conv2D grouped": (IMAGE, lambda k: k.Conv2D(6, 3, groups=3)),
    "Conv2D frozen": (IMAGE, lambda k: k.Conv2D(6, 3, trainable=False)),
    "Conv2DTranspose": (IMAGE, lambda k: k.Conv2DTranspose(5, 3, 2, padding="same")),
    "Cropping1D": (ROW, lambda k: k.Cropping1D((1, 2))),
    "Cropping2D": (IMAGE, lambda k: k.Cropping2D(((1, 0), (2, 1)))),
    "Dense": (ROW, lambda k: k.Dense(5, activation="softmax")),
    "DepthwiseConv2D": (IMAGE, lambda k: k.DepthwiseConv2D(3, depth_multiplier=2)),
    "Dropout": (IMAGE, lambda k: k.Dropout(0.4)),
    "ELU": (IMAGE, lambda k: k.ELU(0.7)),
    "Flatten": (IMAGE, lambda k: k.Flatten()),
    "GlobalAveragePooling1D": (ROW, lambda k: k.GlobalAveragePooling1D()),
    "GlobalAveragePooling2D": (IMAGE, lambda k: k.GlobalAveragePooling2D(keepdims=True)),
    "GlobalMaxPooling1D": (ROW, lambda k: k.GlobalMaxPooling1D()),
    "GlobalMaxPooling2D": (IMAGE, lambda k: k.GlobalMaxPooling2D()),
    "LayerNormalization": (IMAGE, lambda k: k.LayerNormalization(epsilon=0.01)),
    "LeakyReLU": (IMAGE, lambda k: k.LeakyReLU(negative_slope=0.17)),
    "MaxPooling1D": (ROW, lambda k: k.MaxPooling1D()),
    "MaxPooling2D": (IMAGE, lambda k: k.MaxPooling2D((3, 2), padding="same")),
    "PReLU": (IMAGE, lambda k: k.PReLU(shared_axes=[1, 2])),
    "Permute": (IMAGE, lambda k: k.Permute((3, 1, 2))),
    "ReLU": (IMAGE, lambda k: k.ReLU(max_value=0.5, negative_slope=0.1, threshold=0.1)),
    "RepeatVector": ((4,), lambda k: k.RepeatVector(3)),
    "Rescaling": (IMAGE, lambda k: k.Rescaling(1 / 127.5, offset=-1)),
    "Reshape": (IMAGE, lambda k: k.Reshape((-1, 6))),
    "SeparableConv1D": (ROW, lambda k: k.SeparableConv1D(5, 3, strides=2, depth_multiplier=2)),
    "SeparableConv2D": (IMAGE, lambda k: k.SeparableConv2D(5, 3, depth_multiplier=2)),
    "Softmax": (IMAGE, lambda k: k.Softmax(axis=1)),
    "SpatialDropout1D": (ROW, lambda k: k.SpatialDropout1D(0.4)),
    "SpatialDropout2D": (IMAGE, lambda k: k.SpatialDropout2D(0.4)),
    "UpSampling1D": (ROW, lambda k: k.UpSampling1D(2)),
    "UpSampling2D": (IMAGE, lambda k: k.UpSampling2D(2, interpolation="bilinear")),
    "ZeroPadding1D": (ROW, lambda k: k.ZeroPadding1D((1, 2))),
    "ZeroPadding2D": (IMAGE, lambda k: k.ZeroPadding2D(((1, 0), (2, 1)))),
}
MERGES = "Add Average Concatenate Dot Maximum Minimum Multiply Subtract"


@pytest.mark.parametrize("case", ALONE)
def test_twin_of_a_layer_computes_the_same(case: str) -> None:
    shape, layer = ALONE[case]
    assert_twins(alone(shape, layer(keras().layers)))


@pytest.mark.parametrize("name", MERGES.split())
def test_twin_of_a_merge_computes_the_same(name: str) -> None:
    k = keras().layers
    one, other = k.Input(ROW), k.Input(ROW)
    layer = k.Dot(axes=(2, 2)) if name == "Dot" else getattr(k, name)()
    assert_twins(keras().Model([one, other], layer([one, other])))


@pytest.mark.parametrize(
    "name",
    [
        *keras2_layers.SAME.split(),
        "hard_sigmoid",
        "hard_silu",
        "leaky_relu",
        "log_softmax",
        "relu6",
    ],
)
def test_twin_of_an_activation_computes_the_same(name: str) -> None:
    model = alone((5,), keras().layers.Dense(6, activation=name))
    model.set_weights([w * 4 for w in model.get_weights()])  # large enough to reach the flat ends
    assert_twins(model)


def test_every_supported_layer_is_tested() -> None:
    supported = {name for name, kind in KINDS.items() if kind.keras2 not in (None, "input")}
    assert {case.partition(" ")[0] for case in ALONE} | set(MERGES.split()) == supported


def test_twin_has_the_same_regularizers_and_constraints() -> None:
    k = keras().layers
    layer = k.Conv2D(
        4, 3, kernel_regularizer=keras().regularizers.L1L2(0.1, 0.2),
        bias_regularizer="l2", kernel_constraint=keras().constraints.MaxNorm(0.5, axis=[0, 1, 2]),
    )  # fmt: skip
    model = alone(IMAGE, layer)
    twin = bridge.twin(model)
    assert len(twin.losses) == 2
    np.testing.assert_allclose(sum(twin.losses), sum(model.losses), rtol=1e-6)
    kernel = twin.layers[1].kernel
    np.testing.assert_allclose(kernel.constraint(kernel), layer.kernel_constraint(layer.kernel))
    assert not np.allclose(kernel.constraint(kernel), kernel)


@pytest.mark.parametrize("kind", ["Dropout", "SpatialDropout2D"])
def test_dropout_keeps_the_mean_and_draws_new_values_in_each_call(kind: str) -> None:
    ones = np.ones((64, 8, 8, 32), np.float32)
    layer = getattr(keras().layers, kind)(0.25)
    twin = bridge.twin(alone(ones.shape[1:], layer), seed=3)
    first, second = twin(ones, training=True).numpy(), twin(ones, training=True).numpy()
    assert set(np.unique(first)) == {0.0, np.float32(1 / 0.75)}
    assert abs(first.mean() - 1) < 0.05
    assert np.any(first != second)
    whole_channels = bool(np.all(first == first[:, :1, :1]))
    assert whole_channels == (kind == "SpatialDropout2D")


def test_dropout_continues_from_saved_variables_as_if_uninterrupted() -> None:
    ones = np.ones((2, *IMAGE), np.float32)
    model = alone(IMAGE, keras().layers.Dropout(0.5))
    unbroken, broken, other = (bridge.twin(model, seed=s) for s in (3, 3, 4))
    unbroken(ones, training=True)
    for variable, saved in zip(broken.variables, unbroken.variables, strict=True):
        variable.assign(saved)
    expected = unbroken(ones, training=True).numpy()
    np.testing.assert_array_equal(broken(ones, training=True), expected)
    other(ones, training=True)
    assert np.any(other(ones, training=True) != expected)
