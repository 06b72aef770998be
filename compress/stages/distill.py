"""distill: train a smaller student on what the incoming model says about every image, besides the labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import click

from compress.findings import Finding
from compress.keras_models.model import KerasModel
from compress.stage import MAX_EPOCHS, option
from compress.tasks.view import TaskView
from compress.training.distillation import Method
from compress.training.distillation_losses import LOSSES
from compress.training_stage import MODEL, TEACHER, TrainingStage


@dataclass(frozen=True, kw_only=True)
class Distill(TrainingStage):
    """Train a smaller network, the student, on what the model says about every image."""

    name: ClassVar = "distill"
    keeps_architecture: ClassVar = False
    student_width: float = option(
        0.5,
        click.FloatRange(0, 8, min_open=True),
        "Filters of the student relative to the task's own network.",
    )
    student: str | None = option(
        None, MODEL, "Model file to train as the student, instead of the task's network."
    )
    teacher: tuple[str, ...] = option(
        (),
        TEACHER,
        "Model file that teaches, instead of self, the incoming model; of several, their mean.",
    )
    method: str = option(
        "soft-targets",
        click.Choice(list(LOSSES)),
        "What to learn: the teacher's probabilities, or how they correlate.",
    )
    temperature: float = option(
        4.0, click.FloatRange(0.1, 1000), "Softens probabilities: 1 leaves them as they are."
    )
    alpha: float = option(
        0.9,
        click.FloatRange(0, 1),
        "Weight of the teacher in the loss; the labels have the rest. 0 is the control: nobody teaches.",
    )
    epochs: int = option(40, click.IntRange(1, MAX_EPOCHS), "Epochs of training.")

    def __post_init__(self) -> None:
        TrainingStage.__post_init__(self)
        if self.student and self.student_width != 0.5:
            raise ValueError(
                "distill: option 'student_width': a student from a file has its own width; leave one of them out."
            )

    def check(self, model: KerasModel) -> list[Finding]:
        student = self.check_file(self.student, model, "student") if self.student else []
        return [*TrainingStage.check(self, model), *student]

    def outline(self, model: KerasModel, task: TaskView) -> KerasModel:
        return self._student(task, seed=0)

    def apply(self, model: KerasModel, task: TaskView, seed: int) -> KerasModel:
        task = self.training_view(task, model, cast(Method, self.method), self.temperature)
        student = self._student(task, seed)
        task.fit_from_scratch(student.keras, epochs=self.epochs, seed=seed)
        return student

    def _student(self, task: TaskView, seed: int) -> KerasModel:
        if self.student:
            return self.loaded(self.student).trainable_copy()
        return KerasModel(task.build(width=self.student_width, seed=seed))
