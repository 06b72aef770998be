"""A model fits a task, or a sentence says why it does not."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from compress import backend
from compress.keras_models.model import KerasModel
from compress.model_files.fits_task import check_fits
from compress.tflite.model import TFLiteModel
from support.model_files import refused


def shaped(inputs: list[tuple[int | None, ...]], outputs: int = 1, flat: bool = True) -> KerasModel:
    keras = backend.keras()
    given = [keras.layers.Input(shape) for shape in inputs]
    flatten = keras.layers.GlobalAveragePooling2D() if flat else keras.layers.Identity()
    x = flatten(given[0])
    return KerasModel(keras.Model(given, [keras.layers.Dense(5)(x) for _ in range(outputs)]))


def test_a_model_with_the_shapes_of_the_task_fits() -> None:
    check_fits(shaped([(28, 28, 1)]), (28, 28, 1), 5, "digits")
    check_fits(TFLiteModel(b""), (28, 28, 1), 5, "digits")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (([(28, 28, 1)],), "model takes 28x28x1 images and gives 5 classes; task cifar10 has 32x32x3 and 10: "),
        (([(32, 32, 3)],), "takes 32x32x3 images and gives 5 classes"),
        (([(32, 32, 3)], 1, False), "takes 32x32x3 images and gives outputs of shape 32x32x5"),
        (([(7,)], 1, False), "takes inputs of shape 7 and gives 5 classes"),
        (([(32, 32, 3)], 2), "has 1 inputs and 2 outputs"),
        (([(32, 32, 3), (3,)],), "has 2 inputs and 1 outputs"),
        (([(None, None, 3)],), r"takes a batch of shape \?x\?x\?x3"),
    ],
)  # fmt: skip
def test_a_model_of_another_shape_is_refused(model: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        check_fits(shaped(*model), (32, 32, 3), 10, "cifar10")
    assert "task cifar10 has 32x32x3 and 10" in str(caught.value)
    assert "give a model" in str(caught.value) or "build it again" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "model", "said"),
    [
        ("scores 1", "m", "layer 'scores 1' has a name that TensorFlow does not take: name it"),
        ("scor\u00e9s", "m", "layer 'scor\u00e9s' has"),
        ("scores", "my model", "model 'my model' has a name that TensorFlow does not take"),
        ("scores", "_m", "model '_m' has"),
        ("_scores-1.5", "m-1.5", ""),
    ],
)
def test_a_name_that_makes_the_export_fail_is_refused(name: str, model: str, said: str) -> None:
    keras = backend.keras()
    image = keras.layers.Input((8, 8, 3), name="my image")  # not a scope: allowed
    x = keras.layers.GlobalAveragePooling2D()(image)
    made = KerasModel(keras.Model(image, keras.layers.Dense(3, name=name)(x), name=model))
    if said:
        with pytest.raises(ValueError, match=said):
            check_fits(made, (8, 8, 3), 3)
        with pytest.raises(ValueError, match="is not a valid"):
            made.to_tflite()
    else:
        check_fits(made, (8, 8, 3), 3)
        made.to_tflite()


def test_a_model_for_one_fixed_number_of_images_is_refused() -> None:
    keras = backend.keras()
    image = keras.layers.Input(batch_shape=(16, 32, 32, 3))
    model = KerasModel(keras.Model(image, keras.layers.GlobalAveragePooling2D()(image)))
    with pytest.raises(ValueError, match="number of images open"):
        check_fits(model, (32, 32, 3), 3)


def test_a_model_with_two_dimensional_outputs_is_refused() -> None:
    keras = backend.keras()
    image = keras.layers.Input((32, 32, 3))
    x = keras.layers.RepeatVector(10)(keras.layers.GlobalAveragePooling2D()(image))
    with pytest.raises(ValueError, match="gives outputs of shape 10x3"):
        check_fits(KerasModel(keras.Model(image, x)), (32, 32, 3), 10)


def test_an_unbuilt_model_is_refused() -> None:
    keras = backend.keras()
    model = keras.Sequential([keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="has 0 inputs"):
        check_fits(KerasModel(model), (8, 8, 3), 3)
    with warnings.catch_warnings(action="ignore"):  # a warning about the same problem
        model.save("model.keras")
    assert "begin the model with an Input layer" in refused(Path("model.keras"))
