"""TrainingStage: the options common to all stages that train: teachers, views, fields of the recipe."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import click
import numpy as np

from compress import zoo
from compress.findings import CannotTreat, Finding
from compress.input_file import ModelName
from compress.keras_models.batchnorm import has_statistics, recalibrated
from compress.keras_models.input_scale import takes_raw_pixels
from compress.keras_models.model import KerasModel
from compress.keras_models.rebuild import flattened
from compress.model_files.load import load_model
from compress.stage import Stage, option
from compress.tasks.input_scale import misfit
from compress.tasks.view import TaskView
from compress.training.augmentation import FIELDS, harmless_augmentation
from compress.training.batches import check_augmentation
from compress.training.distillation import Distillation
from compress.training.fit import check_choice
from compress.training.optimizer import why_not_by_tf_keras
from compress.training.precision import compiled_copy
from compress.training.recipe import Recipe
from compress.training.recipe_settings import RecipeSetting, check_dropout, values_of
from compress.training.validation import judged

SELF = "self"  # the word for the incoming model
ENOUGH = 10_000  # training images; fewer are little data
LEAST_SHARE = 1 / 3  # of `most_epochs`, for little data if no epochs are given
SHORT = 1000  # training steps; statistics are recomputed only after fewer
IMAGES = 4000  # from which BatchNormalization statistics are recomputed
WEIGHT = 0.9  # of teachers in the loss, if none is given
MODEL = ModelName(exists=True, dir_okay=False)
RATE = click.FloatRange(0, min_open=True)
FOUND_RATE = "Highest learning rate of the training; if not given, short trials search for it."


class TeacherFile(ModelName):
    """A model file, or `self`, the incoming model."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == SELF else ModelName.convert(self, value, param, ctx)


TEACHER = TeacherFile(exists=True, dir_okay=False)


@dataclass(frozen=True, kw_only=True)
class TrainingStage(Stage):
    """A stage that trains. Its own options come first, then these. `training_view` applies them to the task."""

    # Epochs if none are given; `for_data` takes fewer for little data. 0: the stage has a fixed default.
    most_epochs: ClassVar[int] = 0
    teacher: tuple[str, ...] = option(
        (), TEACHER,
        "Model file of a teacher besides the labels, or self for the incoming model; several teachers are averaged.",
    )  # fmt: skip
    alpha: float | None = option(
        None, click.FloatRange(0, 1),
        f"Weight of the teacher in the loss; the labels have the rest. If only --teacher is given, {WEIGHT}; if only "
        "--alpha is given, the incoming model is the teacher.",
    )  # fmt: skip
    views: int | None = option(
        None, click.IntRange(1, 10_000),
        "Show this many augmented views of each image in turn; the outputs of teachers for them are stored.",
    )  # fmt: skip
    set: tuple[str, ...] = option(
        (), RecipeSetting(), "Change a field of the recipe, as in --set mixup=0.2."
    )
    minutes: float | None = option(
        None, click.FloatRange(0, 100_000, min_open=True),
        "Train for about this many minutes, instead of --epochs; steps are timed once, before the run.",
    )  # fmt: skip

    def __post_init__(self) -> None:
        Stage.__post_init__(self)
        own = {field.name: field.default for field in dataclasses.fields(self)}
        if self.minutes is not None and own.get("epochs") != getattr(self, "epochs", None):
            raise ValueError(
                f"{self.name}: option 'minutes': 'minutes' and 'epochs' both set the epochs: give one of them."
            )
        self._recipe_changes()

    def check(self, model: KerasModel) -> list[Finding]:
        """A finding for each teacher that takes other pixel values. CannotTreat if a teacher is for another task."""
        files = [path for path in self.teacher if path != SELF]
        return [finding for path in files for finding in self.check_file(path, model, "teacher")]

    def outline(self, model: KerasModel, task: TaskView) -> KerasModel:
        changes = self._recipe_changes()
        others = {name: value for name, value in changes.items() if name != "dropout"}
        try:
            recipe = self.recipe(task.with_recipe_changes(changes))
            if others != changes and not self.trains_new_network():
                check_dropout(recipe, self.recipe(task.with_recipe_changes(others)))
        except ValueError as error:
            raise ValueError(f"{self.name}: option 'set': {error}") from error
        check_augmentation(task.train, recipe)
        if getattr(self, "epochs", None) != 0:
            try:
                check_choice(task.train_on, recipe)
            except ValueError as error:
                raise ValueError(f"{self.name}: {error}") from error
            if (why := why_not_by_tf_keras(recipe)) and self.trains_by_tf_keras(model):
                raise ValueError(f"{self.name}: {why}")
        self._check_teachers(task)
        return model

    def trains_new_network(self) -> bool:
        """True if the stage trains a network that it gets from `task.build`."""
        return False

    def trains_by_tf_keras(self, model: KerasModel) -> bool:
        """True if the stage trains `model` with tf_keras."""
        return "tf-keras" in self.libraries()

    def _check_teachers(self, task: TaskView) -> None:
        """Raise CannotTreat if a teacher file needs other pixel values than this task gives; see `misfit`."""
        files = [path for path in self.teacher if path != SELF and self.alpha != 0]
        for path in files:
            if why := misfit(self.loaded(path), task.validation, task.task.input_scale):
                way = "put a Rescaling layer before it, or choose another teacher"
                raise CannotTreat(Finding((), why, way, f"the teacher {path}"), stage=self.name)

    def recipe(self, task: TaskView) -> Recipe:
        """The recipe that this stage trains with. ValueError if the changes of `task` contradict it."""
        return task.finetuning_recipe()

    def finds_learning_rate(self, task: TaskView) -> bool:
        """True if the training of this stage on `task` begins with a learning-rate search."""
        options = {field.name for field in dataclasses.fields(self)}
        return "learning_rate" in options and getattr(self, "learning_rate", None) is None

    def files(self) -> list[str]:
        return [path for path in Stage.files(self) if path != SELF]

    def training_view(
        self,
        task: TaskView,
        model: KerasModel,
        temperature: float = Distillation.temperature,
    ) -> TaskView:
        """The task with these options applied: its trainings use their recipe and learn from their teachers.

        Args:
          model: the incoming model.
        """
        task = self._augmented(task.with_recipe_changes(self._recipe_changes()), model)
        taught = self.teacher or (self.most_epochs and len(task.train) < ENOUGH)
        weight = (WEIGHT if taught else 0.0) if self.alpha is None else self.alpha
        if not weight:
            return task
        teachers = tuple(model if path == SELF else self.loaded(path) for path in self.teacher)
        return task.with_distillation(
            Distillation(teachers=teachers or (model,), temperature=temperature, weight=weight)
        )

    def _augmented(self, task: TaskView, model: KerasModel) -> TaskView:
        """The task with the augmentation that does not lower the accuracy of the incoming model."""
        given = {name for name in FIELDS if name in task.recipe_changes}
        wanted = bool(getattr(self, "epochs", 0)) and self.recipe(task).find_augmentation
        if given or not wanted or task.validation.images.ndim != 4:
            return task
        found = harmless_augmentation(model, task.validation, task.task.input_scale)
        task.record("augmentation", found)
        told = {"flip": "mirrored", "crop": "shifted by up to {crop} pixels"}
        words = " and ".join(text.format(**found) for name, text in told.items() if name in found)
        how = f"images {words}" if words else "none"
        task.progress.note(f"augmentation: {how}, chosen by the model's accuracy on such images")
        return task.with_recipe_changes({**task.recipe_changes, **found})

    def for_data(self, task: TaskView) -> Self:
        """The same stage with epochs: if none are given, `most_epochs`, or fewer for little data, to overfit less."""
        if getattr(self, "epochs", 0) is not None:
            return self
        share = min(1.0, max(LEAST_SHARE, len(task.train) / ENOUGH))
        epochs = round(self.most_epochs * share)
        task.record("epochs", epochs)
        return dataclasses.replace(self, epochs=epochs)  # type: ignore[call-arg]

    def with_fit_statistics(self, model: KerasModel, task: TaskView, seed: int) -> KerasModel:
        """The trained `model`. After a short training, recompute its BatchNormalization statistics if that is better.

        In few steps, the moving averages of BatchNormalization do not reach the statistics of its new inputs. Better
        means higher accuracy on validation images, or lower cross-entropy at equal accuracy.
        """
        shown = len(task.training_data().shown)
        batch = min(self.recipe(task).batch_size, shown)
        steps = getattr(self, "epochs", 0) * (shown // batch)
        undone = task.recorded.get("training_undone", False)
        if undone or not 0 < steps < SHORT or not has_statistics(model):
            return model
        chosen = np.random.default_rng(seed).permutation(len(task.train))[:IMAGES]
        renewed = recalibrated(model, task.train.images[chosen], task.task.input_scale)
        figures = []
        for each in (model, renewed):
            said = judged(compiled_copy(each), task.validation, task.task.input_scale)
            figures.append((said.accuracy, -said.cross_entropy))
        if figures[1] <= figures[0]:
            return model
        task.record("statistics_renewed", True)
        return renewed

    def check_file(self, path: str, model: KerasModel, role: str) -> list[Finding]:
        """A finding if the model in a file takes other pixel values. CannotTreat if it has other shapes or classes."""
        other = self.loaded(path)
        ours, theirs = (
            f"images {list(m.input_shape)} and {m.classes} classes" for m in (model, other)
        )
        if ours != theirs:
            reason = f"is for {theirs}, but the incoming model is for {ours}"
            way = f"choose a {role} made for the same task"
            raise CannotTreat(Finding((), reason, way, f"the {role}"), stage=self.name)
        raw, other_raw = (takes_raw_pixels(m.keras) for m in (model, other))
        if raw == other_raw:
            return []
        names = ("the incoming model", f"the {role} {path}")
        has, lacks = names if raw else names[::-1]
        reason = (
            f"begins with a Rescaling of pixels from 0 to 255 but {lacks} does not, "
            "and both get the same pixel values"
        )
        return [Finding((), reason, "use models that take the same pixel values", has)]

    def loaded(self, path: str) -> KerasModel:
        """The flattened model in a file or of the zoo. ValueError if it is a `.tflite` file."""
        model = load_model(zoo.file_of(path))
        if not isinstance(model, KerasModel):
            raise ValueError(f"{self.name}: {path} is a .tflite file; give a .keras or .h5 model.")
        return flattened(model)[0]

    def _recipe_changes(self) -> dict[str, Any]:
        """Recipe field -> value, for the fields that these options change. ValueError if they contradict each other."""
        try:
            changes = values_of(self.set, [field.name for field in dataclasses.fields(self)])
        except ValueError as error:
            raise ValueError(f"{self.name}: option 'set': {error}") from error
        return changes | ({} if self.views is None else {"views": self.views})
