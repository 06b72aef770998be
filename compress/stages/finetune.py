"""finetune: fine-tune without compressing, the control for every comparison of a stage that trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import click

from compress.keras_models.model import KerasModel
from compress.stage import MAX_EPOCHS, option
from compress.tasks.view import TaskView
from compress.training_stage import FOUND_RATE, RATE, TrainingStage


@dataclass(frozen=True, kw_only=True)
class Finetune(TrainingStage):
    """Fine-tune without compressing: the control that shows what training alone does."""

    name: ClassVar = "finetune"
    version: ClassVar = 2
    needs_tensorflow: ClassVar = False
    epochs: int = option(12, click.IntRange(1, MAX_EPOCHS), "Epochs of training.")
    learning_rate: float | None = option(None, RATE, FOUND_RATE)

    def apply(self, model: KerasModel, task: TaskView, seed: int) -> KerasModel:
        result = model.trainable_copy()
        task = self.training_view(task, model)
        task.fit(result.keras, epochs=self.epochs, learning_rate=self.learning_rate, seed=seed)
        return self.with_fit_statistics(result, task, seed)
