"""Training learns, resumes after a kill with the same result, and depends only on its recipe, data and seed."""

from __future__ import annotations

import csv
import dataclasses
import functools
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress import backend
from compress.keras_models.model import KerasModel
from compress.training.fit import fit
from compress.training.optimizer import optimizer_of, plateau_rate
from compress.training.param_groups import TriangularSchedule
from support import tiny_training
from support.tiny_training import (
    FATAL_EPOCH,
    MOMENTS,
    RECIPES,
    SEED,
    Tiny,
    Trained,
    Watcher,
    same,
    train,
    view,
)


@pytest.fixture(scope="module")
def unbroken() -> dict[str, Trained]:
    """Each recipe trained without interruption and without checkpoints."""
    return {name: train(recipe=recipe) for name, recipe in RECIPES.items()}


# Learning


@pytest.mark.parametrize("name", RECIPES)
def test_training_learns(name: str, unbroken: dict[str, Trained]) -> None:
    assert max(row["validation_accuracy"] for row in unbroken[name].history) > 0.8  # chance is 0.33


def test_a_parameter_group_trains_for_its_epochs_and_the_rate_is_triangular() -> None:
    keras, biases = backend.keras(), list[np.ndarray]()

    class Watching(keras.callbacks.Callback):  # type: ignore[name-defined, misc]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            biases.append(np.array(self.model.layers[-1].bias))

    recipe = RECIPES["groups"]
    history = fit(Tiny().build(), recipe, view(None, Watcher()), seed=SEED, callbacks=[Watching()])
    assert [np.array_equal(*pair) for pair in itertools.pairwise(biases)] == [
        *[False, True, True, True]
    ]
    triangle = TriangularSchedule(peak=0.05, start=0.2, rise=0.3, end=0.1)
    expected = [triangle.at(4 * epoch, 20) for epoch in range(1, 6)]
    assert [row["learning_rate"] for row in history] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"optimizer": "adam"}, "parameter groups need sgd"),
        ({"weight_decay": 0.1}, "an l2 in place of weight_decay"),
        ({"flip": True}, "alternating_flip goes with neither flip nor views"),
        ({"views": 2}, "alternating_flip goes with neither flip nor views"),
        ({"warmup": 0.0}, "a triangular schedule has a warmup above 0"),
    ],
)
def test_a_recipe_with_contradicting_fields_is_refused(
    fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        dataclasses.replace(RECIPES["groups"], **fields)


@pytest.mark.parametrize(
    "fields", [{"schedule": "constant"}, {"param_groups": (), "schedule": "triangular"}]
)
def test_tf_keras_refuses_parameter_groups_and_the_triangular_schedule(
    fields: dict[str, Any],
) -> None:
    recipe = dataclasses.replace(RECIPES["groups"], **fields)
    with pytest.raises(ValueError, match="which only training with Keras 3 knows"):
        optimizer_of(recipe, 4, object())


def test_there_is_a_row_for_each_epoch(unbroken: dict[str, Trained]) -> None:
    trained = unbroken["sgd"]
    assert [row["epoch"] for row in trained.history] == [1, 2, 3, 4, 5]
    assert trained.progress.rows == trained.history
    assert trained.progress.begun == (5, 4, 16, 0)  # 66 images in batches of 16; two are left out
    assert trained.progress.steps == [1, 2, 3, 4] * 5


def test_the_validation_of_the_last_epoch_is_that_of_the_returned_weights(
    unbroken: dict[str, Trained],
) -> None:
    trained = unbroken["sgd"]  # keeps the last epoch, of averaged weights
    assert validated(trained.model) == pytest.approx(reported(trained.history[-1]), rel=1e-4)


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_the_weights_of_the_best_epoch_are_returned_as_validated(
    average: float, unbroken: dict[str, Trained]
) -> None:
    recipe = dataclasses.replace(RECIPES["adam"], weight_average=average)
    trained = train(recipe=recipe) if average else unbroken["adam"]
    best = max(trained.history, key=lambda row: row["validation_accuracy"])  # the first of equals
    assert best is not trained.history[-1]
    assert validated(trained.model) == pytest.approx(reported(best), rel=1e-4)


def reported(row: dict[str, float]) -> tuple[float, float]:
    return row["validation_accuracy"], row["validation_cross_entropy"]


def validated(model: Any) -> tuple[float, float]:
    """Accuracy and mean cross-entropy on the validation images, worked out by hand."""
    data = view(None, Watcher()).validation
    scores = np.array(model(data.images * np.float32(1 / 255), training=False), np.float64)
    of_truth = scores[np.arange(len(scores)), data.labels]
    entropies = np.log(np.exp(scores - of_truth[:, None]).sum(1))
    return float(np.mean(scores.argmax(1) == data.labels)), float(entropies.mean())


def test_zero_epochs_leave_the_model_unchanged() -> None:
    before = Tiny().build().get_weights()
    trained = train(recipe=dataclasses.replace(RECIPES["sgd"], epochs=0))
    assert trained.history == []
    assert all(map(np.array_equal, before, trained.weights))


def test_training_images_may_lack_the_last_class() -> None:
    model, progress = Tiny().build(), Watcher()
    task = view(None, progress)
    present = task.train.labels < 2
    part = tiny_training.Split(task.train.images[present], task.train.labels[present])
    recipe = dataclasses.replace(RECIPES["sgd"], epochs=1)
    fit(model, recipe, dataclasses.replace(task, train=part), seed=SEED)
    assert len(progress.rows) == 1


# What the weights depend on


def test_the_same_seed_gives_the_same_weights(unbroken: dict[str, Trained]) -> None:
    assert same(train(), unbroken["sgd"])


def test_another_seed_gives_other_weights(unbroken: dict[str, Trained]) -> None:
    assert not same(train(seed=SEED + 1), unbroken["sgd"])


def test_a_copied_model_trains_like_its_original(unbroken: dict[str, Trained]) -> None:
    progress = Watcher()
    copy = KerasModel(Tiny().build()).copy().keras
    history = fit(copy, RECIPES["sgd"], view(None, progress), seed=SEED)
    assert same(Trained(copy, history, progress), unbroken["sgd"])


# After a kill


Killed = Callable[[str, str], Path]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """A function of recipe and moment: the folder of a training that was killed at that moment."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

    @functools.cache
    def left(name: str, moment: str) -> Path:
        folder = tmp_path_factory.mktemp("killed")
        command = [sys.executable, tiny_training.__file__, name, moment, str(folder)]
        ended = subprocess.run(command, env=environment, check=False).returncode
        assert ended == -signal.SIGKILL
        return folder

    return left


def kills() -> list[Any]:
    """Every recipe with every moment; those besides `sgd` and `while saving` are slow tests."""
    return [
        pytest.param(
            name, m, marks=() if name == "sgd" or m == "while saving" else pytest.mark.slow
        )
        for name, m in itertools.product(RECIPES, MOMENTS)
    ]


@pytest.mark.parametrize(("name", "moment"), kills())
def test_a_killed_training_resumes_to_the_weights_of_an_unbroken_one(
    name: str,
    moment: str,
    killed: Killed,
    unbroken: dict[str, Trained],
) -> None:
    trained = train(killed(name, moment), RECIPES[name])
    assert trained.done_before == FATAL_EPOCH[name] - 1
    assert trained.progress.notes == []
    assert len(trained.progress.rows) == RECIPES[name].epochs - trained.done_before
    assert same(trained, unbroken[name])


def test_the_killed_recipes_use_state_that_a_resume_could_lose(
    unbroken: dict[str, Trained],
) -> None:
    rates = {name: [row["learning_rate"] for row in t.history] for name, t in unbroken.items()}
    assert len(set(rates["sgd"])) == len(rates["sgd"])
    assert len(set(rates["adam"])) > 1  # the plateau was reached
    accuracies = [row["validation_accuracy"] for row in unbroken["adam"].history]
    assert np.argmax(accuracies) < FATAL_EPOCH["adam"] - 1  # the best came before the kill


@pytest.mark.parametrize("name", RECIPES)
def test_a_training_killed_after_its_last_epoch_gives_the_same_weights(
    name: str, tmp_path: Path, unbroken: dict[str, Trained]
) -> None:
    first = train(tmp_path, RECIPES[name])
    assert same(first, unbroken[name])  # keeping checkpoints changes nothing
    again = train(tmp_path, RECIPES[name])
    assert again.done_before == RECIPES[name].epochs
    assert again.progress.rows == []
    assert same(again, unbroken[name])


def test_the_log_has_a_row_for_each_epoch_also_after_a_kill(killed: Killed) -> None:
    folder = killed("sgd", "in an epoch")
    history = train(folder).history
    with (folder / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{k: float(v) for k, v in row.items()} for row in rows] == history
    assert len(rows) == RECIPES["sgd"].epochs


# The rate on a plateau

SETTINGS = settings(derandomize=True, deadline=None)
LOSSES = st.lists(st.floats(0, 10), max_size=40)


@SETTINGS
@given(LOSSES, st.floats(1e-4, 1))
def test_the_rate_never_rises_and_stays_above_its_floor(losses: list[float], rate: float) -> None:
    rates = [plateau_rate(losses[:n], rate) for n in range(len(losses) + 1)]
    assert rates[0] == rate
    assert all(after <= before for before, after in itertools.pairwise(rates))
    assert rates[-1] >= 1e-5


@SETTINGS
@given(st.lists(st.floats(0, 10), max_size=30, unique=True), st.floats(1e-4, 1))
def test_the_rate_stays_while_losses_fall(losses: list[float], rate: float) -> None:
    assert plateau_rate(sorted(losses, reverse=True), rate) == rate


@SETTINGS
@given(st.integers(0, 40), st.integers(1, 7))
def test_the_rate_is_cut_once_per_patience(epochs: int, patience: int) -> None:
    cuts = epochs // patience
    assert plateau_rate([1.0] * (epochs + 1), 1.0, 0.5, patience) == max(0.5**cuts, 1e-5)


def test_a_nan_loss_does_not_count_as_an_improvement() -> None:
    assert plateau_rate([1.0] + [float("nan")] * 5, 1.0) == 0.5


def test_training_uses_the_plateau_rate(unbroken: dict[str, Trained]) -> None:
    losses = [row["validation_cross_entropy"] for row in unbroken["adam"].history]
    for n, row in enumerate(unbroken["adam"].history):
        assert row["learning_rate"] == pytest.approx(plateau_rate(losses[:n], 0.3))
