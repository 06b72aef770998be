"""How many epochs of a stage fit into the minutes that it is given: settled by timing steps, before the key of its run.

A stage is timed once, with the model that it will train, and the number is kept in the folder of runs, so that the same
command stays the same run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from compress.keras_models.model import KerasModel
from compress.runs.remembered import remembered
from compress.stage import MAX_EPOCHS, Stage
from compress.tasks.view import TaskView
from compress.text import counted
from compress.training.learning_rate import GRID, IMAGES, STEPS
from compress.training.progress import Row
from compress.training_stage import TrainingStage

if TYPE_CHECKING:
    from compress.runs.context import RunContext

NAME = ".minutes.json"
WARM_UP, TIMED = 3, 20  # steps: not counted, as they compile; counted
TRIALS = 4  # of learning rates, usually
VALIDATION = 1 / 3  # of the time that training takes for as many images


class Timed(Exception):
    """Raised when enough steps of a training are timed, to end it."""


class Stopwatch:
    """Progress that times the steps of a training and ends it. It shows nothing."""

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
        """Nothing: the next epoch goes on."""

    def note(self, sentence: str) -> None:
        """Nothing."""

    @property
    def seconds(self) -> float:
        """Of a step: the median."""
        between = np.diff(self.times)
        return float(np.median(between[WARM_UP:] if len(between) > WARM_UP else between))


def settled(
    stages: Sequence[Stage], model: KerasModel, context: RunContext
) -> tuple[tuple[Stage, ...], tuple[float | None, ...]]:
    """The stages, those given minutes with the epochs that fit into them instead; and the minutes of each.

    Args:
      model: the one that the first stage gets.
    """
    given = tuple(getattr(stage, "minutes", None) for stage in stages)
    incoming = model.digest
    fitted: list[Stage] = []
    for number, (stage, minutes) in enumerate(zip(stages, given, strict=True)):
        if minutes is not None:
            run = context.keys.of_pipeline(stages[: number + 1], incoming)
            stage = _with_epochs(stage, _epochs(run, stage, minutes, model, context))
        fitted.append(stage)
        if any(given[number + 1 :]):
            model = stage.outline(model, context.view(None))
    return tuple(fitted), given


def _with_epochs(stage: Stage, epochs: int) -> Stage:
    return dataclasses.replace(stage, epochs=epochs, minutes=None)  # type: ignore[call-arg]


def _epochs(run: str, stage: Stage, minutes: float, model: KerasModel, context: RunContext) -> int:
    """How many epochs fit, as timed now or before. Another process that asks waits."""
    note = context.progress.note

    def timed() -> int:
        note(
            f"{stage.name}: timing some steps, to fit its epochs to {counted(minutes, 'minute')}, once"
        )
        return epochs_within(minutes * 60, stage, model, context.view(None), context.seed)

    epochs: int = remembered(context.out / NAME, run, lambda n: type(n) is int and n > 0, timed)
    note(f"{stage.name}: --epochs {epochs} here take about {counted(minutes, 'minute')}")
    return epochs


def epochs_within(
    seconds: float, stage: Stage, model: KerasModel, view: TaskView, seed: int
) -> int:
    """How many epochs of a stage's training of `model` fit, its search for a learning rate included; at least one."""
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
