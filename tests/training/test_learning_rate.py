"""The learning rate is found by short trials that leave no trace."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from compress import backend
from compress.keras_models.model import KerasModel
from compress.tfmot import bridge
from compress.training.learning_rate import (
    GRID,
    HIGHEST,
    STEPS,
    Trials,
    highest_harmless,
    lengthened,
    rates,
    with_warmup,
)
from compress.training.validation import Judged
from compress.weight_sharing import cluster_ids
from support.tiny_training import RECIPES, SEED, Tiny, Watcher, view

SGD = RECIPES["sgd"]


def said(loss: float, right: float = 0.5) -> Judged:
    """The results of a model on a hundred images, with about this mean loss and accuracy."""
    noise = np.linspace(-0.1, 0.1, 100)
    return Judged(loss + noise, np.arange(100) < 100 * right)


def tried(losses: dict[float, float], untrained: float = 1.0) -> tuple[float, list[float]]:
    """The found rate and the tried rates, if the trial of each rate ends at its loss."""
    order: list[float] = []

    def trial(rate: float) -> Judged:
        order.append(rate)
        return said(losses[rate])

    return highest_harmless(said(untrained), trial), order


def test_the_highest_rate_that_does_no_harm_is_taken() -> None:
    assert tried({0.003: 0.8, 0.01: 0.7, 0.03: 3.0}) == (0.01, [0.003, 0.01, 0.03])
    assert tried({0.003: 0.8, 0.01: 0.9}) == (0.003, [0.003, 0.01])
    assert tried({0.003: 0.8, 0.01: 0.7, 0.03: 0.6})[0] == GRID[-1]


def test_lower_rates_are_tried_only_if_the_middle_one_does_harm() -> None:
    assert tried({0.003: 2.0, 0.001: 0.9}) == (0.001, [0.003, 0.001])
    assert tried({0.003: 2.0, 0.001: 1.5, 0.0003: 1.2, 0.0001: 1.1})[0] == GRID[0]


def test_a_nan_loss_or_a_lower_accuracy_counts_as_harm() -> None:
    assert tried({0.003: 0.8, 0.01: float("nan")})[0] == 0.003
    fewer = {0.003: said(0.8, 0.5), 0.01: said(0.7, 0.4)}
    assert highest_harmless(said(1.0), fewer.__getitem__) == 0.003


def test_a_trial_warms_up_and_decays_unless_the_schedule_is_constant() -> None:
    shape = rates(dataclasses.replace(SGD, schedule="cosine"), 40)
    top = int(shape.argmax())
    assert 0 < shape[0] < shape[top] == 1
    assert 0 < top < 5
    assert (np.diff(shape[top:]) < 0).all()
    assert shape[-1] < 0.01
    assert set(rates(dataclasses.replace(SGD, schedule="constant"), 7)) == {1.0}


def test_a_warm_up_is_added_to_a_cosine_without_one() -> None:
    bare = dataclasses.replace(SGD, schedule="cosine", warmup=0.0)
    assert with_warmup(bare).warmup > 0
    own = dataclasses.replace(bare, warmup=0.3)
    assert with_warmup(own) == own
    constant = dataclasses.replace(SGD, schedule="constant", warmup=0.0)
    assert with_warmup(constant) == constant


def holed() -> KerasModel:
    model = KerasModel(Tiny().build())
    for variable in model.kernel_variables().values():
        w = np.array(variable)
        variable.assign(np.where(np.abs(w) < np.median(np.abs(w)), 0, w))
    return model


def of_keras3() -> tuple[Any, Any]:
    return holed().trainable_copy().keras, backend.keras()


def of_tf_keras() -> tuple[Any, Any]:
    model = holed()
    held = {name: cluster_ids(w) for name, w in model.kernels().items()}
    return bridge.twin(model.keras, SEED, held), bridge.tf_keras()


@pytest.mark.parametrize("made", [of_keras3, of_tf_keras])
def test_trials_train_and_restore_the_weights(made: Any) -> None:
    model, keras = made()
    before = model.get_weights()
    moved: list[bool] = []
    step = model.train_on_batch

    def train_on_batch(images: np.ndarray, labels: np.ndarray) -> None:
        step(images, labels)
        moved.append(not all(map(np.array_equal, model.get_weights(), before)))

    model.train_on_batch = train_on_batch
    trials = Trials(model, SGD, view(None, Watcher()), seed=SEED, keras=keras)
    assert trials.found_rate() <= HIGHEST
    assert all(moved)
    assert len(moved) % trials.steps == 0
    assert len(moved) >= 2 * trials.steps
    assert all(map(np.array_equal, model.get_weights(), before))


@pytest.mark.parametrize("made", [of_keras3, of_tf_keras])
def test_without_lengthening_the_found_rate_is_one_of_the_grid(made: Any) -> None:
    model, keras = made()
    recipe = dataclasses.replace(SGD, epochs=40)
    trials = Trials(model, recipe, view(None, Watcher()), seed=SEED, keras=keras)
    assert trials.times > 1
    tried = trials.found_rate(lengthen=False)
    assert tried in GRID
    assert trials.found_rate() == lengthened(tried, trials.times) > tried


def test_trials_are_short() -> None:
    data, keras = view(None, Watcher()), backend.keras()
    model = Tiny().build()
    steps = [
        Trials(model, dataclasses.replace(SGD, epochs=epochs), data, seed=SEED, keras=keras).steps
        for epochs in (1, 100_000)
    ]
    per_epoch = len(data.train) // min(SGD.batch_size, len(data.train))
    assert steps == [per_epoch, STEPS]
