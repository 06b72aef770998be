"""New statistics are those of the inputs of each BatchNormalization; nothing else changes."""

from __future__ import annotations

from typing import Any

import numpy as np

from compress import backend
from compress.keras_models.batchnorm import BATCH, has_statistics, recalibrated
from compress.keras_models.model import KerasModel

IMAGES = np.random.default_rng(0).integers(0, 256, (2 * BATCH, 4, 4, 3), dtype=np.uint8)
SEEN = IMAGES * np.float32(1 / 255)


def network(*more: Any) -> KerasModel:
    keras = backend.keras()
    keras.utils.set_random_seed(0)
    k = keras.layers
    image = keras.Input((4, 4, 3))
    x = k.Conv2D(5, 3, name="conv")(image)
    x = k.ReLU()(k.BatchNormalization(name="first", gamma_initializer="random_normal")(x))
    for layer in more:
        x = layer(x)
    return KerasModel(keras.Model(image, k.BatchNormalization(name="second")(x)))


def statistics(model: KerasModel, name: str) -> tuple[np.ndarray, np.ndarray]:
    _, _, mean, variance = model.keras.get_layer(name).get_weights()
    return mean, variance


def renewed(model: KerasModel) -> KerasModel:
    return recalibrated(model, IMAGES, 1 / 255)


def test_new_statistics_are_the_mean_and_variance_of_the_inputs() -> None:
    keras, model = backend.keras(), network()
    after = renewed(model)
    for name in ("first", "second"):
        layer = after.keras.get_layer(name)
        given = keras.Model(after.keras.inputs[0], layer.input)(SEEN, training=False).numpy()
        mean, variance = statistics(after, name)
        # The second is only close, because training normalizes each batch by its own statistics.
        np.testing.assert_allclose(mean, given.mean(axis=(0, 1, 2)), rtol=0.02, atol=0.01)
        np.testing.assert_allclose(variance, given.var(axis=(0, 1, 2)), rtol=0.05, atol=1e-4)
    mean, _ = statistics(after, "first")
    kernel, bias = model.keras.get_layer("conv").get_weights()
    windows = SEEN.reshape(-1, 4, 4, 3)
    whole = sum(
        windows[:, i : i + 2, j : j + 2].mean(axis=(0, 1, 2)) @ kernel[i, j]
        for i in range(3)
        for j in range(3)
    )
    np.testing.assert_allclose(mean, whole + bias, rtol=1e-4, atol=1e-5)


def test_other_weights_and_the_incoming_model_are_unchanged() -> None:
    model = network()
    before = [w.copy() for w in model.keras.get_weights()]
    after = renewed(model)
    for old, new in zip(before, model.keras.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    for old, new, weight in zip(
        before, after.keras.get_weights(), after.keras.weights, strict=True
    ):
        assert np.array_equal(old, new) != ("moving" in weight.path), weight.path
    assert after.keras.get_layer("first").momentum == 0.99


def test_new_statistics_depend_on_no_old_statistics_and_no_dropout() -> None:
    model = network(backend.keras().layers.Dropout(0.5, name="dropout"))
    other = model.copy()
    layer = other.keras.get_layer("first")
    layer.set_weights([w + 3 * (i > 1) for i, w in enumerate(layer.get_weights())])
    assert renewed(model).digest == renewed(other).digest
    assert renewed(model).keras.get_layer("dropout").rate == 0.5
    np.testing.assert_array_equal(
        statistics(renewed(model), "second")[1], statistics(renewed(network()), "second")[1]
    )


def test_statistics_of_a_nested_model_are_recomputed() -> None:
    keras = backend.keras()
    inner = keras.Sequential(
        [keras.Input((2, 2, 5)), keras.layers.BatchNormalization(name="inner")], name="nested"
    )
    after = renewed(network(inner))
    mean, _ = (v.numpy() for v in after.keras.get_layer("nested").get_layer("inner").weights[2:])
    assert mean.all()


def test_has_statistics_tells_whether_a_model_has_batch_normalization() -> None:
    keras = backend.keras()
    plain = KerasModel(keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Dense(2)]))
    assert not has_statistics(plain)
    assert has_statistics(network())


def test_a_smaller_last_batch_is_weighted_by_its_number_of_images() -> None:
    model = network()
    few = np.concatenate([IMAGES[:BATCH], np.full((1, 4, 4, 3), 255, np.uint8)])
    mean, _ = statistics(recalibrated(model, few, 1 / 255), "first")
    most, _ = statistics(recalibrated(model, few[:BATCH], 1 / 255), "first")
    last, _ = statistics(recalibrated(model, few[BATCH:], 1 / 255), "first")
    np.testing.assert_allclose(mean, (BATCH * most + last) / (BATCH + 1), rtol=1e-4, atol=1e-6)
