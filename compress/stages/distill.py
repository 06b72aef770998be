"""distill: train a smaller student on the predictions of the incoming model, besides the labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import click

from compress.findings import CannotTreat, Finding
from compress.keras_models.model import KerasModel
from compress.stage import MAX_EPOCHS, option
from compress.tasks.network import Network
from compress.tasks.view import TaskView
from compress.training.recipe import Recipe
from compress.training_stage import MODEL, RATE, TEACHER, TrainingStage
from compress.typed_options import ForwardedOption

WIDTH = 0.5  # of a student, if no width is given


@dataclass(frozen=True, kw_only=True)
class Distill(TrainingStage):
    """Train a smaller network, the student, on the predictions of the model."""

    name: ClassVar = "distill"
    version: ClassVar = 2
    needs_tensorflow: ClassVar = False
    keeps_architecture: ClassVar = False
    student_width: float = option(
        WIDTH,
        click.FloatRange(0, 8, min_open=True),
        "Filters of the student relative to the task's own network.",
    )
    student: str | None = option(
        None, MODEL, "Model file to train as the student, instead of the task's network."
    )
    teacher: tuple[str, ...] = option(
        (),
        TEACHER,
        "Model file of a teacher, instead of self, the incoming model; several teachers are averaged.",
    )
    temperature: float = option(
        4.0, click.FloatRange(0.1, 1000), "Softens the probabilities; 1 leaves them unchanged."
    )
    alpha: float = option(
        0.9,
        click.FloatRange(0, 1),
        "Weight of the teacher in the loss; the labels have the rest. 0, the control, uses the labels alone.",
    )
    epochs: int = option(40, click.IntRange(1, MAX_EPOCHS), "Epochs of training.")
    learning_rate: float | None = option(
        None,
        RATE,
        "Highest learning rate of the training; if not given, that of the recipe for training from scratch. If there "
        "is no such recipe, short trials search for it.",
    )
    student_network: str | None = option(
        None,
        str,
        "Network of the task to train as the student; the first one if not given. Set its options as in "
        "--student-widths 16,32,64.",
    )
    student_option: tuple[str, ...] = option(
        (),
        ForwardedOption("student"),
        "Option of the student network; same as --student-NAME VALUE.",
    )

    def __post_init__(self) -> None:
        TrainingStage.__post_init__(self)
        # Sorted: the same student is the same run, whatever the order of its options.
        ordered = tuple(sorted(self.student_option, key=lambda each: each.partition("=")[0]))
        object.__setattr__(self, "student_option", ordered)
        if self.student and self.student_width != WIDTH:
            raise ValueError(
                "distill: option 'student_width': a student from a file has its own width; leave one of them out."
            )
        if self.student and (self.student_network or self.student_option):
            raise ValueError(
                "distill: option 'student': a student from a file does not go with --student-network or its options; "
                "leave out the file or these options."
            )

    def argv(self) -> list[str]:
        words = TrainingStage.argv(self)
        # The width is the first option, but does not apply to another network or a file.
        has_width = self.student_width != WIDTH or not (self.student_network or self.student)
        return words if has_width else [words[0], *words[3:]]

    def networks(self) -> tuple[str, ...]:
        return (self.student_network,) if self.student_network else ()

    def check(self, model: KerasModel) -> list[Finding]:
        student = self.check_file(self.student, model, "student") if self.student else []
        return [*TrainingStage.check(self, model), *student]

    def outline(self, model: KerasModel, task: TaskView) -> KerasModel:
        student = self._student(task, seed=0)
        TrainingStage.outline(self, model, task)
        ours, theirs = (f"{list(m.input_shape)} to {m.classes} classes" for m in (model, student))
        if ours != theirs:
            reason = f"takes {theirs}, but the incoming model takes {ours}"
            way = f"name a model file with --student, or the task of the model, which is not {task.task.name}"
            raise CannotTreat(Finding((), reason, way, "the student"), stage=self.name)
        return student

    def recipe(self, task: TaskView) -> Recipe:
        return task.scratch_recipe(self._network(task))

    def trains_new_network(self) -> bool:
        return self.student is None

    def finds_learning_rate(self, task: TaskView) -> bool:
        # A recipe for training from scratch has its own learning rate.
        return not task.scratch_recipes(self._network(task)) and super().finds_learning_rate(task)

    def apply(self, model: KerasModel, task: TaskView, seed: int) -> KerasModel:
        task = self.training_view(task, model, self.temperature)
        student = self._student(task, seed)
        task.fit_from_scratch(
            student.keras,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            seed=seed,
            network=self._network(task),
        )
        return student

    def _student(self, task: TaskView, seed: int) -> KerasModel:
        if self.student:
            return self.loaded(self.student).trainable_copy()
        network = self._network(task)
        return KerasModel(task.build(seed=seed, width=self.student_width, network=network))

    def _network(self, task: TaskView) -> Network | None:
        """The network that the options name, with its own options; None if they name none."""
        if not (self.student_network or self.student_option):
            return None
        network = task.task.network(self.student_network)
        settings = list(self.student_option)
        if self.student_width != WIDTH or "width" in network.option_names():
            settings.append(f"width={self.student_width}")
        try:
            return network.with_words(settings)
        except ValueError as error:
            raise ValueError(f"distill: {error}") from error
