"""A model that cannot have a tf_keras twin is refused in one sentence, before any work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from compress.tfmot import bridge
from support.twins import IMAGE, alone, keras


def custom_layer() -> Any:
    class Twice(keras().layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x * 2

    return alone(IMAGE, Twice(name="odd"))


def derived_layer() -> Any:
    class Conv2D(keras().layers.Conv2D):  # type: ignore[misc]
        """A subclass with the same name as Keras's layer."""

    return alone(IMAGE, Conv2D(2, 3, name="odd"))


def subclassed_model() -> Any:
    class Own(keras().Model):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x

    return Own(name="odd")


def nested_model() -> Any:
    k = keras().layers
    inner = keras().Sequential([k.Input(IMAGE), k.Conv2D(2, 3)], name="odd")
    return keras().Sequential([k.Input(IMAGE), inner])


def scaled_by_an_operator() -> Any:
    image = keras().layers.Input(IMAGE)
    x = keras().layers.Conv2D(2, 3)(image)
    return keras().Model(image, keras().layers.ReLU()(keras().ops.multiply(x, 2.0)))


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "custom": (custom_layer, r"layer 'odd' \(Twice\) is not built into Keras: build"),
    "derived": (derived_layer, r"layer 'odd' \(Conv2D\) is not built into Keras: build"),
    "subclassed": (subclassed_model, "model 'odd' is a Own, .* build it as keras.Sequential"),
    "nested": (nested_model, r"layer 'odd' \(Sequential\) is a model inside .* call its layers"),
    "lambda": (
        lambda: alone(IMAGE, keras().layers.Lambda(lambda x: x, name="odd")),
        r"layer 'odd' \(Lambda\) cannot be trained through tf_keras: leave it out",
    ),
    "augmenting": (
        lambda: alone(IMAGE, keras().layers.RandomFlip(name="odd")),
        r"layer 'odd' \(RandomFlip\) cannot be trained through tf_keras: leave it out",
    ),
    "constant": (
        scaled_by_an_operator,
        r"layer '.*' \(Multiply\) is not called with outputs of layers",
    ),
    "not built": (lambda: keras().Sequential([keras().layers.Dense(2)]), "has no input yet: build"),
    "half precision": (
        lambda: alone(IMAGE, keras().layers.Conv2D(2, 3, name="odd", dtype="mixed_float16")),
        r"layer 'odd' \(Conv2D\) computes in mixed_float16, not in float32: build",
    ),
    "activation": (
        lambda: alone(IMAGE, keras().layers.Conv2D(2, 3, name="odd", activation="squareplus")),
        r"layer 'odd' \(Conv2D\) has an activation that Keras 2 lacks: use",
    ),
    "activation layer": (
        lambda: alone(IMAGE, keras().layers.Dense(2, name="odd", activation=keras().layers.ELU())),
        r"layer 'odd' \(Dense\) has an activation that Keras 2 lacks: use",
    ),
    "name": (
        lambda: alone(IMAGE, keras().layers.Conv2D(2, 3, name="the odd one")),
        r"layer 'the odd one' \(Conv2D\) has a name that Keras 2 does not take: name it",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_model_without_a_twin_is_refused_in_one_sentence(case: str) -> None:
    build, sentence = REFUSED[case]
    model = build()
    with pytest.raises(ValueError, match=sentence) as error:
        bridge.check(model)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")
    with pytest.raises(ValueError, match=sentence):
        bridge.twin(model)


def test_a_custom_regularizer_is_refused() -> None:
    class Odd(keras().regularizers.Regularizer):  # type: ignore[misc]
        def __call__(self, x: Any) -> Any:
            return 0.0

        def get_config(self) -> dict[str, Any]:
            return {}

    model = alone(IMAGE, keras().layers.Dense(2, name="odd", kernel_regularizer=Odd()))
    with pytest.raises(ValueError, match=r"layer 'odd' .* has a custom kernel_regularizer: use"):
        bridge.check(model)


def test_option_that_keras_2_lacks_is_refused() -> None:
    layer = keras().layers.Dense(4, name="odd")
    model = alone(IMAGE, layer)
    layer.enable_lora(2)
    with pytest.raises(
        ValueError, match=r"layer 'odd' .* has lora_rank=2: build the model without"
    ):
        bridge.twin(model)
