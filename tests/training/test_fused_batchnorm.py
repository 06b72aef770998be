"""The fused BatchNormalization gives the same outputs, gradients and statistics as that of Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compress import backend
from compress.training.fused_batchnorm import can_fuse, fuse, unfuse


def normalizing(channels: int, **options: Any) -> Any:
    """A model that is one BatchNormalization, with random numbers in every variable."""
    keras = backend.keras()
    image = keras.layers.Input((5, 6, channels))
    model = keras.Model(image, keras.layers.BatchNormalization(momentum=0.9, **options)(image))
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 2, w.shape) for w in model.get_weights()])
    return model


def trained(model: Any, images: np.ndarray) -> list[np.ndarray]:
    """Outputs and gradients of a training step on some loss, and the statistics after it."""
    tf = backend.tensorflow()
    variables = [v.value for v in model.trainable_variables]
    x = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x, training=True)
        loss = tf.reduce_sum(tf.sin(y) * np.arange(images.shape[-1], dtype=np.float32))
    gradients = tape.gradient(loss, [x, *variables])
    return [np.array(t) for t in (y, *gradients, *model.weights)]


IMAGES = np.random.default_rng(1).normal(0.5, 2, (8, 5, 6, 16)).astype(np.float32)


@pytest.mark.parametrize(
    ("channels", "options"),
    [
        (16, {}),
        (3, {"axis": 3}),
        (4, {"scale": False}),
        (4, {"center": False, "epsilon": 1e-12}),
    ],
)
def test_fused_batchnorm_in_float32_equals_that_of_keras(
    channels: int, options: dict[str, Any]
) -> None:
    model, twin = normalizing(channels, **options), normalizing(channels, **options)
    layer, images = model.layers[-1], IMAGES[..., :channels]
    assert can_fuse(layer)
    fuse(layer)
    for one, other in zip(trained(model, images), trained(twin, images), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    outputs = [np.array(m(images, training=False)) for m in (model, twin)]
    np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-4)
    unfuse(layer)
    assert "call" not in vars(layer)
    for one, other in zip(trained(model, images), trained(twin, images), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("channels", "expected"), [(16, "bfloat16"), (12, "float32")])
def test_in_bfloat16_statistics_and_scale_stay_float32(channels: int, expected: str) -> None:
    tf, keras = backend.tensorflow(), backend.keras()
    model = normalizing(channels)
    layer = model.layers[-1]
    layer.dtype_policy = keras.DTypePolicy("mixed_bfloat16")
    fuse(layer)

    @tf.function
    def step(x: Any) -> Any:
        return layer(x, training=True)

    images = tf.cast(IMAGES[..., :channels], "bfloat16")
    graph = step.get_concrete_function(images).graph
    (operator,) = (o for o in graph.get_operations() if o.type == "FusedBatchNormV3")
    assert (operator.get_attr("T").name, operator.get_attr("U").name) == (expected, "float32")
    assert step(images).dtype == "bfloat16"
    pixels = np.array(tf.cast(images, "float32"))
    before = normalizing(channels).layers[-1]
    np.testing.assert_allclose(
        np.array(layer.moving_variance),
        0.9 * np.array(before.moving_variance) + 0.1 * pixels.var((0, 1, 2)),
        rtol=1e-4,
    )


def test_a_frozen_layer_keeps_its_statistics() -> None:
    model = normalizing(4)
    layer = model.layers[-1]
    before = model.get_weights()
    fuse(layer)
    layer.trainable = False
    model(IMAGES[..., :4], training=True)
    assert all(map(np.array_equal, before, model.get_weights()))


def test_only_batchnorm_of_images_with_channels_last_is_fused() -> None:
    keras = backend.keras()
    first = keras.layers.BatchNormalization(axis=1)
    assert not can_fuse(first)
    assert not can_fuse(keras.layers.LayerNormalization())
    dense = keras.layers.BatchNormalization()
    before = np.array(dense(IMAGES[:, 0, 0], training=True))
    fuse(dense)
    assert np.array_equal(np.array(dense(IMAGES[:, 0, 0], training=True)), before)
