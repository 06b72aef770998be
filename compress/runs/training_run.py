"""Train a task's model from scratch into a run folder: weights, exported file, log, summary, row."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress import backend
from compress.files import digest, replacing
from compress.keras_models.model import KerasModel
from compress.rows.measurement import MeasuredOn
from compress.runs import precision
from compress.runs.context import Made, RunContext
from compress.runs.folder import FinishedRun, RunFolder
from compress.significance import wilson_interval
from compress.tasks.task import Task
from compress.text import no_such
from compress.training.fit import fit
from compress.training.progress import History
from compress.training.recipe import Recipe
from compress.training.recipe_settings import changed
from compress.training.seeding import set_seed

LOG = "log.csv"


@dataclass(frozen=True, kw_only=True)
class Training:
    """The options of `compress train`."""

    recipe: str
    width: float = 1.0
    epochs: int | None = None  # None: the recipe's own
    settings: tuple[str, ...] = ()  # FIELD=VALUE each: see `recipe_settings`
    tensorboard: bool = False

    def resolved(self, task: Task) -> Recipe:
        """The recipe with `settings` and `epochs` applied.

        Raises:
          ValueError: there is no such recipe, a setting is wrong, or TensorBoard is not installed.
        """
        if self.tensorboard and not importlib.util.find_spec("tensorboard"):
            raise ValueError(
                "--tensorboard needs a package that is not installed: pip install tensorboard."
            )
        if self.recipe not in task.recipes:
            raise ValueError(f"task {task.name} has {no_such('recipe', self.recipe, task.recipes)}")
        recipe = changed(task.recipes[self.recipe], self.settings, options=["epochs"])
        return recipe if self.epochs is None else dataclasses.replace(recipe, epochs=self.epochs)

    def notes(self, task: Task) -> list[str]:
        """Notes on this training for the user and the row. Raises as `resolved` does."""
        untrained = (
            "--epochs 0 trains nothing: these are the random weights that training begins with."
        )
        return [] if self.resolved(task).epochs else [untrained]

    @property
    def label(self) -> str:
        """The words that ask for this training."""
        width = "" if self.width == 1 else f" --width {self.width}"
        epochs = "" if self.epochs is None else f" --epochs {self.epochs}"
        settings = "".join(f" --set {setting}" for setting in self.settings)
        return f"train --recipe {self.recipe}{width}{epochs}{settings}"

    def folder_name(self, run: str) -> str:
        """The name of the folder of the run with that key."""
        return f"{self.label.replace(' --', '-').replace(' ', '-')}-{run[:12]}"

    def run(self, context: RunContext) -> tuple[Path, FinishedRun]:
        """Train, or reuse the same training if it is finished. Gives the run folder and its content."""
        recipe = self.resolved(context.task)
        training = precision.of_training(recipe, self.width, context.keys)
        context = precision.settled(context, training, lambda: self._network(recipe, context))
        run = context.keys.of_training(recipe, self.width)
        folder = RunFolder(context.out / self.folder_name(run))

        def make() -> Made:
            model, history = self._fit(recipe, context, folder)
            _write_log(folder.path, history)
            summary = summarise(history, recipe, model.params, len(context.data.validation))
            return Made(
                run=run,
                exported=model.to_tflite(),
                model=model,
                pipeline=[],
                incoming=model.digest,
                notes=self.notes(context.task),
                recorded=context.decided,
                seconds=sum(r["seconds"] for r in history) or None,
                manifest={"summary": summary, "recipe": dataclasses.asdict(recipe)},
            )

        return folder.path, context.run(folder, self.label, make)

    def _network(self, recipe: Recipe, context: RunContext) -> KerasModel:
        set_seed(backend.keras(), context.seed, context.deterministic)
        return KerasModel(context.task.build(width=self.width, dropout=recipe.dropout))

    def _fit(
        self, recipe: Recipe, context: RunContext, folder: RunFolder
    ) -> tuple[KerasModel, History]:
        keras = backend.keras()
        model = self._network(recipe, context)
        boards = (
            [keras.callbacks.TensorBoard(str(folder.path / "tensorboard"))]
            if self.tensorboard
            else []
        )
        history = fit(
            model.keras,
            recipe,
            context.view(folder).training_data(),
            seed=context.seed,
            title=self.label,
            callbacks=boards,
        )
        return model, history


def _write_log(folder: Path, history: History) -> None:
    """Write log.csv. The checkpoint's own log lags behind if a process was killed between the two."""
    if not history:
        return
    with replacing(folder / LOG) as temporary, temporary.open("w", newline="") as file:
        log = csv.DictWriter(file, list(history[0]), lineterminator="\n")
        log.writeheader()
        log.writerows(history)


def read_log(folder: Path) -> History:
    """The rows of log.csv as `fit` gave them; none if nothing was trained."""
    if not (folder / LOG).is_file():
        return []
    with (folder / LOG).open(newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def summarise(
    history: History, recipe: Recipe, params: int, validation_images: int
) -> dict[str, Any]:
    """The figures by which the published baseline is described, with a 95 % Wilson interval for the accuracy."""
    summary: dict[str, Any] = {"params": params, "digest": digest(dataclasses.asdict(recipe))}
    if history:
        loss = min(history, key=lambda r: r["validation_cross_entropy"])
        best = max(history, key=lambda r: r["validation_accuracy"])
        correct = round(best["validation_accuracy"] * validation_images)
        summary |= {
            "best_validation_cross_entropy": loss["validation_cross_entropy"],
            "best_validation_cross_entropy_epoch": loss["epoch"],
            "best_validation_accuracy": best["validation_accuracy"],
            "best_validation_accuracy_epoch": best["epoch"],
            "best_validation_accuracy_interval": list(wilson_interval(correct, validation_images)),
        }
    return summary | {"kept": recipe.keep}


def measured_summary(finished_run: FinishedRun, measured_on: MeasuredOn) -> dict[str, Any]:
    """The summary of a finished training, with the measured accuracy and cross-entropy of its exported file."""
    row = finished_run.rows[measured_on]
    return dict(finished_run.manifest["summary"]) | {
        f"{measured_on}_cross_entropy": row.cross_entropy,
        f"{measured_on}_accuracy": row.top1,
        f"{measured_on}_accuracy_interval": [row.top1_low, row.top1_high],
    }
