"""finetune trains and compresses nothing."""

from __future__ import annotations

import numpy as np
import pytest

from baselines.toy import Toy
from compress.keras_models.model import KerasModel
from compress.stages.finetune import Finetune
from compress.tasks.view import TaskView
from compress.training.seeding import set_seed


@pytest.fixture(scope="module")
def untrained() -> KerasModel:
    from compress import backend

    set_seed(backend.keras(), 0, deterministic=False)
    return KerasModel(Toy().build())


def accuracy(model: KerasModel, view: TaskView) -> float:
    scores = model.keras.predict(view.validation.images / np.float32(255), verbose=0)
    return float((scores.argmax(axis=1) == view.validation.labels).mean())


def test_finetuning_improves_accuracy(untrained: KerasModel, toy_view: TaskView) -> None:
    trained = Finetune(epochs=12, learning_rate=0.1).apply(untrained, toy_view, seed=0)
    assert accuracy(trained, toy_view) > accuracy(untrained, toy_view) + 0.2


def test_finetuning_makes_no_zeros_and_keeps_every_parameter(
    untrained: KerasModel, toy_view: TaskView
) -> None:
    trained = Finetune(epochs=1, learning_rate=0.01).apply(untrained, toy_view, seed=0)
    assert trained.params == untrained.params
    assert all(kernel.all() for kernel in trained.kernels().values())


def test_zeros_stay_zero_and_the_rest_is_trained(toy_model: KerasModel, toy_view: TaskView) -> None:
    holed = toy_model.copy()
    for variable in holed.kernel_variables().values():
        variable.assign(np.where(np.abs(np.array(variable)) < 0.1, 0, np.array(variable)))
    trained = Finetune(epochs=1, learning_rate=0.01).apply(holed, toy_view, seed=0)
    for name, kernel in trained.kernels().items():
        before = holed.kernels()[name]
        assert not kernel[before == 0].any()
        assert (kernel[before != 0] != before[before != 0]).mean() > 0.5  # not all: dead ReLUs


def test_a_kernel_constraint_holds_while_zeros_are_kept(toy_view: TaskView) -> None:
    from compress import backend

    keras = backend.keras()
    keras.utils.set_random_seed(0)
    k, unit = keras.layers, keras.constraints.UnitNorm()
    x = image = k.Input(Toy.input_shape)
    for name in ("whole", "sparse"):
        x = k.Conv2D(4, 3, kernel_constraint=unit, name=name)(x)
    model = KerasModel(keras.Model(image, k.Dense(3)(k.GlobalAveragePooling2D()(x))))
    sparse = model.kernel_variables()["sparse"]
    sparse.assign(np.maximum(np.array(sparse), 0))
    stage = Finetune(epochs=1, learning_rate=0.01)
    after = stage.apply(model, toy_view, seed=0).kernels()
    assert not after["sparse"][np.array(sparse) == 0].any()
    for name in ("whole", "sparse"):
        lengths = np.linalg.norm(after[name], axis=0)
        np.testing.assert_allclose(lengths[lengths > 0], 1, rtol=1e-5)


@pytest.mark.usefixtures("whatever_training_does")
def test_seed_decides_the_order_of_images(toy_model: KerasModel, toy_view: TaskView) -> None:
    stage = Finetune(epochs=1, learning_rate=0.01)
    one, other = (stage.apply(toy_model, toy_view, seed=s) for s in (0, 1))
    assert one.digest != other.digest
