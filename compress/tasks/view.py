"""TaskView: a task as a stage sees it, without a test set."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress import backend
from compress.data.dataset import Split
from compress.rows.result import TrainedOn
from compress.tasks.network import Network
from compress.tasks.task import Task
from compress.training.distillation import Distillation
from compress.training.fit import fit
from compress.training.precision import Precision
from compress.training.progress import History, Progress
from compress.training.recipe import Recipe
from compress.training.recovery import fit_recovering
from compress.training.seeding import set_seed
from compress.training.training_data import TrainingData


@dataclass(frozen=True)
class TaskView:
    """A task as a stage sees it: how to build and train models, train images, validation images. It has no test set."""

    task: Task
    train: Split
    validation: Split
    checkpoints: Path | None  # folder for the state that `fit` resumes from; None: not resumable
    progress: Progress
    deterministic: bool = False
    distillation: Distillation | None = None  # term that `fit` adds to the loss
    answers: Path | None = None  # folder of teachers' answers, which runs share; None: in memory
    precision: Precision = "float32"  # precision that `fit` computes in
    train_on: TrainedOn = "train"
    answered_in: Precision | None = None  # precision that teachers compute in; None: `precision`
    recipe_changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # field -> value
    recorded: dict[str, Any] = dataclasses.field(default_factory=dict, compare=False)

    def build(self, *, seed: int, width: float = 1.0, network: Network | None = None) -> Any:
        """A new model for `fit_from_scratch`, with weights drawn from `seed`.

        Args:
          width: see `Task.build`, which builds the model if no network is given.
        """
        set_seed(backend.keras(), seed, self.deterministic)
        dropout = self.scratch_recipe(network).dropout
        if network is None:
            return self.task.build(width=width, dropout=dropout)
        return network.build(self.train.images, dropout=dropout)

    def with_distillation(self, distillation: Distillation) -> TaskView:
        """The same view, with `distillation` added to the loss of every `fit`."""
        return dataclasses.replace(self, distillation=distillation)

    def with_recipe_changes(self, changes: Mapping[str, Any]) -> TaskView:
        """The same view, with these fields changed in the recipe of every training."""
        return dataclasses.replace(self, recipe_changes=changes)

    def record(self, name: str, value: Any) -> None:
        """Record a decision that the stage made while it ran, such as a learning rate, in the row of the run.

        Args:
          value: a number, a text, a bool, None, or lists and dicts of them. A name recorded twice keeps its last value.
        """
        try:
            plain = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError):
            plain = None
        # JSON would turn a tuple into a list, and a key into a text.
        if not (
            isinstance(name, str) and name and (plain is None) == (value is None) and plain == value
        ):
            raise ValueError(
                f"record({name!r}, {value!r:.40}): expected a name, and a number, a text, a bool, None, or lists and "
                "dicts of them that JSON can hold."
            )
        self.recorded[name] = plain

    def fit(
        self,
        model: Any,
        *,
        epochs: int,
        learning_rate: float | None = None,
        seed: int,
        untrained: Any = None,
        keras: Any = None,
        callbacks: Sequence[Any] = (),
        lengthen: bool = True,
    ) -> History:
        """Train `model` in place with the task's fine-tuning recipe, resumably. See `training.recovery.fit_recovering`.

        Its decisions, such as the learning rate that it finds, are recorded.
        """
        recipe = dataclasses.replace(self.finetuning_recipe(), epochs=epochs)
        done = fit_recovering(
            model,
            recipe,
            self.training_data(),
            seed=seed,
            learning_rate=learning_rate,
            untrained=untrained,
            keras=keras,
            callbacks=callbacks,
            lengthen=lengthen,
        )
        for name, value in done.recorded.items():
            self.record(name, value)
        return done.history

    def fit_from_scratch(
        self,
        model: Any,
        *,
        epochs: int,
        learning_rate: float | None = None,
        seed: int,
        network: Network | None = None,
    ) -> History:
        """Train a new `model` in place, resumably.

        Args:
          learning_rate: the highest rate. None: that of the recipe, or a search finds it for a fine-tuning recipe.
          network: its first recipe is used; None: the task's first. Without any, the task's fine-tuning recipe is used.
        """
        if not self.scratch_recipes(network):
            return self.fit(model, epochs=epochs, learning_rate=learning_rate, seed=seed)
        recipe = dataclasses.replace(self.scratch_recipe(network), epochs=epochs)
        if learning_rate is not None:
            recipe = dataclasses.replace(recipe, learning_rate=learning_rate)
        return fit(model, recipe, self.training_data(), seed=seed)

    def training_data(self) -> TrainingData:
        """The data, input scale, checkpoints and loss terms of a training of this task."""
        return TrainingData(
            self.train,
            self.validation,
            self.task.input_scale,
            self.checkpoints,
            self.progress,
            self.deterministic,
            self.distillation,
            self.answers,
            self.precision,
            self.train_on,
            self.answered_in,
        )

    def finetuning_recipe(self) -> Recipe:
        """The recipe of `fit`, with the changes of this view. ValueError if they contradict it."""
        return dataclasses.replace(self.task.finetuning, **self.recipe_changes)

    def scratch_recipe(self, network: Network | None = None) -> Recipe:
        """The recipe of `fit_from_scratch`, with the changes of this view. ValueError if they contradict it."""
        recipe = next(iter(self.scratch_recipes(network).values()), self.task.finetuning)
        return dataclasses.replace(recipe, **self.recipe_changes)

    def scratch_recipes(self, network: Network | None) -> Mapping[str, Recipe]:
        """The recipes for training a network from scratch; None: those of the task. They may be empty."""
        return self.task.recipes if network is None else network.recipes
