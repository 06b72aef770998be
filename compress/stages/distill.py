"""distill: train a smaller student on what the incoming model says about every image, besides the labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, cast

import click

from compress.findings import CannotTreat, Finding
from compress.input_file import FilePath
from compress.keras_models.input_scale import takes_raw_pixels
from compress.keras_models.model import KerasModel
from compress.keras_models.rebuild import flattened
from compress.model_files.load import load_model
from compress.stage import MAX_EPOCHS, Stage, option
from compress.tasks.view import TaskView
from compress.training.distillation import Distillation, Method
from compress.training.distillation_losses import LOSSES

MODEL = FilePath(exists=True, dir_okay=False)


@dataclass(frozen=True, kw_only=True)
class Distill(Stage):
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
        (), MODEL, "Model file that teaches, instead of the incoming model; of several, their mean."
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
        0.9, click.FloatRange(0, 1), "Weight of the teacher in the loss; the labels have the rest."
    )
    epochs: int = option(40, click.IntRange(1, MAX_EPOCHS), "Epochs of training.")

    def __post_init__(self) -> None:
        Stage.__post_init__(self)
        if self.student and self.student_width != 0.5:
            raise ValueError(
                "distill: option 'student_width': a student from a file has its own width; leave one of them out."
            )

    def check(self, model: KerasModel) -> list[Finding]:
        files = [("teacher", path) for path in self.teacher]
        files += [("student", self.student)] if self.student else []
        return [finding for role, path in files for finding in self._fits(path, model, role)]

    def outline(self, model: KerasModel, task: TaskView) -> KerasModel:
        return self._student(task, seed=0)

    def apply(self, model: KerasModel, task: TaskView, seed: int) -> KerasModel:
        student = self._student(task, seed)
        distillation = Distillation(
            teachers=self._teachers(model),
            method=cast(Method, self.method),
            temperature=self.temperature,
            weight=self.alpha,
        )
        task.with_distillation(distillation).fit_from_scratch(
            student.keras, epochs=self.epochs, seed=seed
        )
        return student

    def _student(self, task: TaskView, seed: int) -> KerasModel:
        if self.student:
            return _loaded(self.student).trainable_copy()
        return KerasModel(task.build(width=self.student_width, seed=seed))

    def _teachers(self, model: KerasModel) -> tuple[KerasModel, ...]:
        return tuple(_loaded(path) for path in self.teacher) or (model,)

    def _fits(self, path: str, model: KerasModel, role: str) -> list[Finding]:
        """A finding if the model in a file takes other pixel values. CannotTreat if other image shapes or classes."""
        other = _loaded(path)
        ours, theirs = (
            f"images {list(m.input_shape)} and {m.classes} classes" for m in (model, other)
        )
        if ours != theirs:
            reason = f"is for {theirs}, but the incoming model for {ours}"
            way = f"choose a {role} made for the same task"
            raise CannotTreat(Finding((), reason, way, f"the {role}"), stage=self.name)
        raw, other_raw = (takes_raw_pixels(m.keras) for m in (model, other))
        if raw == other_raw:
            return []
        names = ("the incoming model", f"the {role} {path}")
        has, lacks = names if raw else names[::-1]
        reason = (
            f"begins with a Rescaling of pixels from 0 to 255 and {lacks} does not, "
            "but both are given the same numbers"
        )
        return [Finding((), reason, "use models that take the same", has)]


def _loaded(path: str) -> KerasModel:
    model = load_model(Path(path))
    if not isinstance(model, KerasModel):
        raise ValueError(f"distill: {path} is a .tflite file; give a .keras or .h5 model.")
    return flattened(model)[0]
