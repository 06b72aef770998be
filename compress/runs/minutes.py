"""Replace the minutes of a stage by the number of epochs that fit into them, found by timing training steps.

This happens before the key of the run is computed. A stage is timed once, with the model that it will train. The number
is cached in the folder of runs, so that the same command is the same run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.keras_models.model import KerasModel
from compress.runs import precision, trained
from compress.runs.folder import RunFolder
from compress.runs.remembered import recalled, remembered
from compress.stage import MAX_EPOCHS, Stage
from compress.tasks.view import TaskView
from compress.text import counted
from compress.training.learning_rate import GRID, IMAGES, STEPS
from compress.training.progress import Row
from compress.training_stage import TrainingStage

if TYPE_CHECKING:
    from compress.runs.context import RunContext

NAME = ".minutes.json"
WARM_UP, TIMED = 3, 20  # steps: the first ones compile and are not timed
TRIALS = 4  # usual number of trials of a learning-rate search
VALIDATION = 1 / 3  # time to validate an image, relative to the time to train on it


class Timed(Exception):
    """Raised to end a training when enough of its steps are timed."""


class Stopwatch:
    """Progress that times the steps of a training and then ends the training. It shows nothing."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.steps = self.batch_size = 0

    def begin(self, title: str, epochs: int, steps: int, batch_size: int, done: int) -> None:
        self.steps, self.batch_size = steps, batch_size

    def step(self, step: int, loss: float, accuracy: float) -> None:
        self.times.append(time.monotonic())
        if len(self.times) > WARM_UP + TIMED:
            raise Timed

    def epoch(self, row: Row) -> None:
        """Do nothing: timing continues in the next epoch."""

    def note(self, sentence: str) -> None:
        """Do nothing."""

    @property
    def seconds(self) -> float:
        """The median time of a step."""
        between = np.diff(self.times)
        return float(np.median(between[WARM_UP:] if len(between) > WARM_UP else between))


def settled(
    stages: Sequence[Stage], model: KerasModel, context: RunContext, of_jax: bool = False
) -> tuple[tuple[Stage, ...], tuple[float | None, ...]]:
    """The stages, with epochs in place of minutes where minutes are given; and the minutes of each stage.

    A stage is timed in the requested precision; if this is "auto", in float32.

    Args:
      model: the input of the first stage.
      of_jax: if the only stage was not timed on this backend and is trained on JAX, use the epochs that were trained.
    """
    context, of_jax = precision.requested(context), of_jax and len(stages) == 1
    given = tuple(getattr(stage, "minutes", None) for stage in stages)
    incoming = model.digest
    fitted: list[Stage] = []
    for number, (stage, minutes) in enumerate(zip(stages, given, strict=True)):
        if minutes is not None:
            until = stages[: number + 1]
            run = context.keys.of_pipeline(until, incoming)
            known = _trained_on_jax(stage, run, incoming, context) if of_jax else None
            # The stage is timed with what its run computes with.
            timing = dataclasses.replace(context, decided=context.keys.decided_for(until))
            epochs = known or _epochs(run, stage, minutes, model, timing)
            stage = _with_epochs(stage, epochs)
        fitted.append(stage)
        if any(given[number + 1 :]):
            model = stage.outline(model, context.view(None))
    return tuple(fitted), given


def _with_epochs(stage: Stage, epochs: int) -> Stage:
    return dataclasses.replace(stage, epochs=epochs, minutes=None)  # type: ignore[call-arg]


def _trained_on_jax(stage: Stage, run: str, incoming: str, context: RunContext) -> int | None:
    """The epochs of the same stage that is trained on JAX; None if there are none, or if `run` has a number itself."""
    jax = trained.on_jax(context)
    numbers = (run, jax.keys.of_pipeline([stage], incoming))
    own, epochs = (recalled(context.out / NAME, each, _is_number) for each in numbers)
    if own or not epochs or context.fresh:
        return None
    key = jax.keys.of_pipeline([_with_epochs(stage, epochs)], incoming)
    return epochs if RunFolder.named(context.out, f"-{key[:12]}").is_trained() else None


def _is_number(epochs: Any) -> bool:
    return type(epochs) is int and epochs > 0


def _epochs(run: str, stage: Stage, minutes: float, model: KerasModel, context: RunContext) -> int:
    """The number of epochs that fit, timed now or read from the cache. Other processes wait for the timing."""
    note = context.progress.note

    def timed() -> int:
        note(
            f"{stage.name}: timing some steps, to fit its epochs to {counted(minutes, 'minute')}, once"
        )
        return epochs_within(minutes * 60, stage, model, context.view(None), context.seed)

    epochs: int = remembered(context.out / NAME, run, _is_number, timed)
    note(f"{stage.name}: --epochs {epochs} here take about {counted(minutes, 'minute')}")
    return epochs


def epochs_within(
    seconds: float, stage: Stage, model: KerasModel, view: TaskView, seed: int
) -> int:
    """The number of epochs, at least 1, of training `model` that fit into the time, after any learning-rate search."""
    finds_rate = isinstance(stage, TrainingStage) and stage.finds_learning_rate(view)
    alone = dataclasses.replace(stage, minutes=None)  # type: ignore[call-arg]
    if finds_rate:
        alone = dataclasses.replace(alone, learning_rate=GRID[0])  # type: ignore[call-arg]
    watch = Stopwatch()
    with contextlib.suppress(Timed):
        alone.apply(model, dataclasses.replace(view, progress=watch, recorded={}), seed)
    image = watch.seconds / watch.batch_size
    trial = image * (STEPS * watch.batch_size + IMAGES * VALIDATION)
    epoch = image * (watch.steps * watch.batch_size + len(view.validation) * VALIDATION)
    left = seconds - (TRIALS * trial if finds_rate else 0.0)
    return max(1, min(MAX_EPOCHS, int(left / epoch)))
