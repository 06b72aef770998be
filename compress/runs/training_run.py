"""Train a task's model from scratch and write a run folder: weights, exported file, log, summary, row."""

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
from compress.runs import precision, provenance, trained
from compress.runs.context import Made, RunContext
from compress.runs.folder import FinishedRun, RunFolder
from compress.runs.trained import Trained
from compress.statistics.significance import wilson_interval
from compress.tasks.network import Network
from compress.tasks.task import Task
from compress.text import no_such
from compress.training.checkpoint import rows_logged
from compress.training.fit import fit
from compress.training.progress import History
from compress.training.recipe import Recipe
from compress.training.recipe_settings import changed
from compress.training.seeding import set_seed


@dataclass(frozen=True, kw_only=True)
class Training:
    """The options of `compress train`."""

    recipe: str
    network: Network | None = None  # None: the task's first network, with default options
    epochs: int | None = None  # None: the epochs of the recipe
    settings: tuple[str, ...] = ()  # each FIELD=VALUE: see `recipe_settings`
    tensorboard: bool = False

    def network_of(self, task: Task) -> Network:
        """The network to train."""
        return self.network or task.network(None)

    def resolved(self, task: Task) -> Recipe:
        """The recipe with `settings` and `epochs` applied.

        Raises:
          ValueError: there is no such recipe, a setting is wrong, or TensorBoard is not installed.
        """
        if self.tensorboard and not importlib.util.find_spec("tensorboard"):
            raise ValueError(
                "--tensorboard needs a package that is not installed: pip install tensorboard."
            )
        network = self.network_of(task)
        if self.recipe not in network.recipes:
            of = f"network {network.name} of task {task.name}"
            raise ValueError(f"{of} has {no_such('recipe', self.recipe, network.recipes)}")
        own = network.recipes[self.recipe]
        recipe = changed(own, self.settings, options=["epochs"])
        if recipe.find_augmentation != own.find_augmentation:
            raise ValueError(
                "find_augmentation asks the incoming model of a stage, and a training from scratch has none: leave it "
                "out, or set flip and crop."
            )
        return recipe if self.epochs is None else dataclasses.replace(recipe, epochs=self.epochs)

    def notes(self, task: Task) -> list[str]:
        """Notes on this training for the user and the row. Raises as `resolved` does."""
        untrained = (
            "--epochs 0 trains nothing: these are the random weights that training begins with."
        )
        return [] if self.resolved(task).epochs else [untrained]

    def label(self, task: Task) -> str:
        """The words that request this training on the command line. The task's first network is not named."""
        network = self.network_of(task)
        named = [] if network.name == next(iter(task.networks)) else ["--network", network.name]
        epochs = [] if self.epochs is None else ["--epochs", str(self.epochs)]
        settings = [word for setting in self.settings for word in ("--set", setting)]
        words = ["train", *named, "--recipe", self.recipe, *network.words(), *epochs, *settings]
        return " ".join(words)

    def folder_name(self, task: Task, run: str) -> str:
        """The name of the run folder for the key `run`."""
        text = self.label(task).replace(" --", "-").replace(" ", "-")
        safe = "".join(c if c.isalnum() or c in "-._,=" else "_" for c in text)
        return f"{safe}-{run[:12]}"

    def run(self, context: RunContext) -> tuple[Path, FinishedRun]:
        """Train, or reuse the same training if it is finished. Return the run folder and its content.

        A model that is trained but not measured, on this backend or on JAX, is only measured.
        """
        own = self._settled(context)
        context = trained.chosen(own, self._settled(trained.on_jax(context)), self._folder)
        folder, label = self._folder(context), self.label(context.task)

        def make() -> Made:
            done = Trained.load(folder, context.trust)
            if done:
                context.progress.note(f"{label}: trained before, measured now")
            else:
                done = self._trained(context, folder)
            exported = done.model.to_tflite()
            return Made(
                run=self._key(context),
                exported=exported,
                model=done.model,
                pipeline=[],
                incoming=done.incoming,
                notes=[*done.notes, *exported.notes],
                recorded=done.recorded,
                trained_on=context.train_on,
                seconds=done.seconds or None,
                peak_memory_bytes=done.peak_memory_bytes,
                manifest=done.manifest,
            )

        return folder.path, context.run(folder, label, make)

    def keep_unmeasured(self, context: RunContext) -> Path:
        """Train and save the model without measuring it. Return the run folder."""
        context = self._settled(context)
        folder = self._folder(context)

        def train() -> Trained:
            done = self._trained(context, folder)
            return dataclasses.replace(
                done,
                notes=[*done.notes, *trained.notes_on(context)],
                manifest={**done.manifest, **trained.provenance_of(context)},
            )

        trained.keep(context, folder, self.label(context.task), train)
        return folder.path

    def _settled(self, context: RunContext) -> RunContext:
        recipe, network = self.resolved(context.task), self.network_of(context.task)
        training = precision.of_training(recipe, network, context.keys)
        return precision.settled(context, training, lambda: self._untrained(recipe, context))

    def _key(self, context: RunContext) -> str:
        return context.keys.of_training(self.resolved(context.task), self.network_of(context.task))

    def _folder(self, context: RunContext) -> RunFolder:
        return RunFolder.named(context.out, self.folder_name(context.task, self._key(context)))

    def _trained(self, context: RunContext, folder: RunFolder) -> Trained:
        recipe = self.resolved(context.task)
        model, history = self._fit(recipe, context, folder)
        _write_log(folder, history)
        # Do not cite the accuracy on images that were used in training.
        cited = history if context.train_on == "train" else []
        summary = summarise(cited, recipe, model.params, len(context.data.validation))
        return Trained(
            model=model,
            incoming=model.digest,
            trained_on=context.train_on,
            seconds=sum(r["seconds"] for r in history),
            peak_memory_bytes=provenance.peak_memory_bytes(),
            notes=self.notes(context.task),
            recorded=context.decided,
            manifest={"summary": summary, "recipe": dataclasses.asdict(recipe)},
        )

    def _untrained(self, recipe: Recipe, context: RunContext) -> KerasModel:
        set_seed(backend.keras(), context.seed, context.deterministic)
        network = self.network_of(context.task)
        return KerasModel(network.build(context.data.train.images, dropout=recipe.dropout))

    def _fit(
        self, recipe: Recipe, context: RunContext, folder: RunFolder
    ) -> tuple[KerasModel, History]:
        keras = backend.keras()
        model = self._untrained(recipe, context)
        boards = [keras.callbacks.TensorBoard(str(folder.tensorboard))] if self.tensorboard else []
        history = fit(
            model.keras,
            recipe,
            context.view(folder).training_data(),
            seed=context.seed,
            title=self.label(context.task),
            callbacks=boards,
        )
        return model, history


def _write_log(folder: RunFolder, history: History) -> None:
    """Write log.csv. The log beside the checkpoint may lack an epoch, if a process was killed before writing it."""
    if not history:
        return
    with replacing(folder.log) as temporary, temporary.open("w", newline="") as file:
        log = csv.DictWriter(file, list(history[0]), lineterminator="\n")
        log.writeheader()
        log.writerows(history)


def read_log(folder: Path) -> History:
    """The rows of log.csv as `fit` returned them; empty if nothing was trained."""
    return rows_logged(RunFolder(folder).log)


def summarise(
    history: History, recipe: Recipe, params: int, validation_images: int
) -> dict[str, Any]:
    """The figures that describe the published baseline, with a 95 % Wilson interval for the accuracy."""
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
