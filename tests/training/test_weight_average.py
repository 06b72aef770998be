"""Averaged weights follow their formula, forget the random start, and include BatchNormalization statistics."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from compress import backend
from compress.keras_models.model import KerasModel
from compress.stages.cluster import Cluster
from compress.stages.prune import Prune
from compress.tasks.view import TaskView
from compress.tfmot import bridge
from compress.training.fit import fit
from compress.training.recipe import Recipe
from conftest import Silent
from support.tiny_training import RECIPES, SEED, Tiny, train, view

PLAIN = Recipe(
    summary="Nothing but steps.", epochs=4, learning_rate=0.5, batch_size=16, weight_average=0.3
)


def linear(keras: Any) -> Any:
    return keras.Sequential(
        [keras.layers.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3)]
    )


@pytest.mark.parametrize(
    ("name", "momentum"), [("keras", 0.99), ("keras", 0.3), ("tf_keras", 0.99)]
)
def test_the_average_equals_the_recursion_computed_by_hand(name: str, momentum: float) -> None:
    keras: Any = backend.keras() if name == "keras" else bridge.tf_keras()
    seen: list[list[np.ndarray]] = []

    class Seeing(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(self.model.get_weights())

    keras.utils.set_random_seed(0)
    model = linear(keras)
    expected = model.get_weights()
    recipe = dataclasses.replace(PLAIN, weight_average=momentum)
    fit(model, recipe, view(None, Silent()), seed=SEED, keras=keras, callbacks=[Seeing()])
    assert len(seen) == 16  # steps; a momentum of 0.3 is reached at the third
    for step, weights in enumerate(seen):
        m = min(momentum, (1 + step) / (10 + step))
        expected = [m * a + (1 - m) * w for a, w in zip(expected, weights, strict=True)]
    for given, kernel in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(given, kernel, rtol=1e-5, atol=1e-6)
    assert not np.allclose(expected[0], seen[-1][0], atol=1e-2)  # an average, not the last step


def test_batchnorm_statistics_are_averaged_like_the_weights() -> None:
    keras = backend.keras()
    data = view(None, Silent())
    model = keras.Sequential(
        [
            keras.layers.Input((8, 8, 3)),
            norm := keras.layers.BatchNormalization(momentum=0.99),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3),
        ]
    )
    # Every step sees all images, so that their mean and variance are those of every batch.
    recipe = dataclasses.replace(PLAIN, epochs=3, batch_size=66, weight_average=0.99)
    fit(model, recipe, data, seed=SEED)
    pixels = data.train.images.reshape(-1, 3) / 255.0
    left = 1 / 10 * 2 / 11 * 3 / 12  # of the start, which is mean 0 and variance 1
    mean, variance = (1 - left) * pixels.mean(0), left + (1 - left) * pixels.var(0)
    np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, variance, rtol=1e-4)


def test_statistics_of_a_frozen_batchnorm_stay() -> None:
    model = Tiny().build()
    norm = next(x for x in model.layers if "norm" in x.name)
    norm.trainable = False
    norm.set_weights([np.full(4, value, np.float32) for value in (1, 0, 0.3, 0.7)])
    before = norm.get_weights()
    fit(model, dataclasses.replace(RECIPES["sgd"], epochs=1), view(None, Silent()), seed=SEED)
    assert all(map(np.array_equal, before, norm.get_weights()))


def test_a_variance_that_falls_to_zero_is_not_negative() -> None:
    keras = backend.keras()
    starts = keras.initializers.RandomUniform(0.5, 2.0, seed=0)
    norm = keras.layers.BatchNormalization(moving_variance_initializer=starts)
    layers = [keras.layers.Rescaling(0.0), keras.layers.Flatten(), norm, keras.layers.Dense(3)]
    model = keras.Sequential([keras.layers.Input((8, 8, 3)), *layers])
    recipe = dataclasses.replace(PLAIN, epochs=10, weight_average=0.99)
    fit(model, recipe, view(None, Silent()), seed=SEED)
    assert 0 <= np.min(norm.moving_variance) <= np.max(norm.moving_variance) < 1e-5


def test_a_short_training_with_a_long_average_validates_above_chance() -> None:
    model = Tiny().build()
    next(x for x in model.layers if "norm" in x.name).momentum = 0.99
    recipe = dataclasses.replace(RECIPES["sgd"], weight_average=0.99)
    history = fit(model, recipe, view(None, Silent()), seed=SEED)
    # Chance is 0.33. An average that keeps 0.99 from the start on is at 0.33 too.
    assert history[-1]["validation_accuracy"] > 0.8


def test_weight_averaging_does_not_change_the_training_loss() -> None:
    averaged, plain = train(), train(recipe=dataclasses.replace(RECIPES["sgd"], weight_average=0))
    losses = [[row["loss"] for row in t.history] for t in (averaged, plain)]
    assert losses[0] == losses[1]


def averaging() -> TaskView:
    """A task whose stages train by a recipe with weight averaging."""
    data = Tiny().load(None, print)
    assert Tiny().finetuning.weight_average > 0
    return TaskView(Tiny(), data.train, data.validation, None, Silent(), deterministic=True)


def test_pruning_with_weight_averaging_keeps_its_zeros() -> None:
    model = KerasModel(Tiny().build())
    stage = Prune(sparsity=0.5, epochs=2, learning_rate=0.02)
    pruned = stage.apply(model, averaging(), seed=SEED)
    assert {int(np.sum(w == 0)) / w.size for w in pruned.kernels().values()} == {0.5}


def test_clustering_with_weight_averaging_keeps_few_values() -> None:
    model = KerasModel(Tiny().build())
    stage = Cluster(clusters=4, epochs=2, learning_rate=0.02)
    clustered = stage.apply(model, averaging(), seed=SEED)
    assert all(len(np.unique(w)) <= 4 for n, w in clustered.kernels().items() if w.size > 12)
