"""`plain_form`: the model itself if its layers have no fused activations, otherwise an equivalent model."""

from __future__ import annotations

from typing import Any

import numpy as np

from compress import backend
from compress.keras_models.model import KerasModel
from compress.quantization.qat_form import plain_form
from support.tiny_task import drawn


def network(activation: str | None) -> Any:
    """A convolution and a Dense layer."""
    keras = backend.keras()
    k = keras.layers
    keras.utils.set_random_seed(0)
    image = k.Input((8, 8, 3))
    x = k.ReLU()(k.Conv2D(4, 3, activation=activation, name="conv")(image))
    return keras.Model(image, k.Dense(3, name="scores")(k.Flatten()(x)))


def test_plain_form_returns_a_model_of_plain_layers_itself() -> None:
    model = network(None)
    assert plain_form(KerasModel(model)) is model


def test_plain_form_moves_a_fused_activation_into_a_layer_of_a_new_model() -> None:
    images = drawn(0).images.astype(np.float32) / 255
    model = network("tanh")
    form = plain_form(KerasModel(model))
    assert form.get_layer("conv").activation.__name__ == "linear"
    assert model.get_layer("conv").activation.__name__ == "tanh"
    np.testing.assert_allclose(
        form.predict(images, verbose=0), model.predict(images, verbose=0), rtol=1e-5, atol=1e-6
    )
