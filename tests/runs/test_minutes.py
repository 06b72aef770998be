"""--minutes fits the epochs of a stage to the time, before its run has a key."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest

from compress.keras_models.model import KerasModel
from compress.pipelines.pipeline import Pipeline
from compress.pipelines.words import stages_of
from compress.runs import minutes, trained
from compress.runs.context import RunContext
from compress.runs.folder import RunFolder
from compress.stages.distill import Distill
from compress.stages.finetune import Finetune
from compress.stages.prune import Prune
from compress.tasks.view import TaskView
from compress.training.precision import PrecisionChoice


@pytest.fixture
def one_second_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(minutes.time, "monotonic", lambda: float(next(clock)))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the stages that were timed; ten epochs fit."""
    timed: list[str] = []

    def ten(seconds: float, stage: Any, *_: Any) -> int:
        timed.append(stage.name)
        return 10

    monkeypatch.setattr(minutes, "epochs_within", ten)
    return timed


@pytest.mark.usefixtures("one_second_a_step")
def test_a_stage_gets_as_many_epochs_as_fit_the_time(
    toy_model: KerasModel, toy_view: TaskView
) -> None:
    # 14 steps of 32 images an epoch, and 150 of validation, which take a third of the time.
    epoch = 14 + 150 / 32 / 3
    stage = Finetune(minutes=1, learning_rate=0.01)
    assert minutes.epochs_within(5.5 * epoch, stage, toy_model, toy_view, 0) == 5
    assert minutes.epochs_within(0.5 * epoch, stage, toy_model, toy_view, 0) == 1
    assert toy_view.recorded == {}


@pytest.mark.usefixtures("one_second_a_step")
def test_the_learning_rate_search_uses_part_of_the_time(
    toy_model: KerasModel, toy_view: TaskView
) -> None:
    given, found = (
        minutes.epochs_within(1000, stage, toy_model, toy_view, 0)
        for stage in (Prune(minutes=1, learning_rate=0.01), Prune(minutes=1))
    )
    assert found < given


@pytest.mark.usefixtures("one_second_a_step")
def test_a_student_with_its_own_recipe_needs_no_learning_rate_search(
    toy_model: KerasModel, toy_view: TaskView
) -> None:
    given, own = (
        minutes.epochs_within(1000, stage, toy_model, toy_view, 0)
        for stage in (Distill(minutes=1, learning_rate=0.01), Distill(minutes=1))
    )
    assert toy_view.scratch_recipes(None)
    assert own == given


def test_a_stage_is_timed_once_and_gets_a_number_of_epochs(
    quick: list[str], context: RunContext, toy_model: KerasModel
) -> None:
    asked = (Prune(sparsity=0.3, minutes=2), Distill(minutes=3.5))
    for _ in range(2):
        stages, given = minutes.settled(asked, toy_model, context)
    assert stages == (Prune(sparsity=0.3, epochs=10), Distill(epochs=10))
    assert given == (2, 3.5)
    assert quick == ["prune", "distill"]
    minutes.settled((Prune(sparsity=0.3, minutes=4),), toy_model, context)
    assert quick[2:] == ["prune"]
    (context.out / minutes.NAME).write_text("[")
    minutes.settled(asked[:1], toy_model, context)
    assert len(quick) == 4


def test_a_stage_is_timed_in_the_requested_precision_once_for_each(
    context: RunContext, toy_model: KerasModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[str] = []

    def epochs(seconds: float, stage: Any, model: Any, view: TaskView, seed: int) -> int:
        timed.append(view.precision)
        return 10 * len(timed)

    monkeypatch.setattr(minutes, "epochs_within", epochs)
    asked: list[PrecisionChoice] = ["float32", "bfloat16", "bfloat16", "auto"]
    contexts = [dataclasses.replace(context, precision=each) for each in asked]
    found = [minutes.settled((Distill(minutes=2),), toy_model, each)[0] for each in contexts]
    assert [stage.epochs for (stage,) in found] == [10, 20, 20, 10]
    assert timed == ["float32", "bfloat16"]
    # A conversion to tf_keras trains in float32 whatever is requested.
    stage = Prune(minutes=2, alpha=0.0)
    for each in contexts:
        minutes.settled((stage,), toy_model, each)
    assert timed[2:] == ["float32"]


def test_a_run_that_is_trained_on_jax_is_measured_with_the_epochs_that_it_trained(
    quick: list[str], context: RunContext, toy_model: KerasModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = (Distill(minutes=2),)
    jax = trained.on_jax(context)
    stages, _ = minutes.settled(asked, toy_model, jax)
    monkeypatch.setattr(minutes, "epochs_within", lambda *_: 7)

    def found(of_jax: bool, out: Path = context.out) -> int | None:
        own = dataclasses.replace(context, out=out)
        ((stage,), _) = minutes.settled(asked, toy_model, own, of_jax)
        return stage.epochs

    run = jax.keys.of_pipeline(stages, toy_model.digest)
    folder = RunFolder(context.out / f"distill-{run[:12]}")
    folder.path.mkdir()
    folder.trained.write_text("{}")
    other = shutil.copytree(context.out, context.out.with_name("other"))
    assert found(of_jax=True) == 10
    assert found(of_jax=False) == 7
    assert found(of_jax=True) == 7  # now this backend has a number of its own
    (other / folder.path.name / folder.trained.name).unlink()
    assert found(of_jax=True, out=other) == 7


@pytest.mark.usefixtures("quick")
def test_a_run_with_minutes_equals_the_run_with_epochs_and_records_the_minutes(
    context: RunContext, toy_model: KerasModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minutes, "epochs_within", lambda *_: 1)
    rate = {"learning_rate": 0.01}
    row = Pipeline((Finetune(minutes=2, **rate),)).run(toy_model, context)[1]
    assert row.label == "finetune --epochs 1 --learning-rate 0.01"
    assert row.recorded["minutes"] == 2
    again = Pipeline((Finetune(epochs=1, **rate),)).run(toy_model, context)[1]
    assert again == row


@pytest.mark.parametrize("words", ["prune --minutes 5 --epochs 4", "prune --minutes 5 --epochs 45"])
def test_minutes_and_epochs_together_are_refused(words: str) -> None:
    with pytest.raises(ValueError, match="--minutes and --epochs both set the epochs: give one"):
        stages_of(words)
    with pytest.raises(ValueError, match=r"^prune: option 'minutes': 'minutes' and 'epochs' both"):
        Prune(minutes=5, epochs=4)


def test_minutes_that_are_not_given_are_not_in_the_key() -> None:
    assert "minutes" not in Prune().changed_options()
    assert dataclasses.replace(Prune(minutes=3), minutes=None) == Prune()
