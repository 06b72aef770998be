"""Train a task's model from scratch into a run folder: weights, exported file, log, curves, summary, row."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress import backend
from compress.model import KerasModel
from compress.result import Result, append_to
from compress.statistics import wilson_interval
from compress.store import digest, empty, replacing
from compress.task import Task
from compress.train import History, Recipe, fit, set_seed
from compress.workbench import LOCK, Workbench, claimed, finished, keep


@dataclass(frozen=True, kw_only=True)
class Training:
    """What `compress train` was asked for."""

    recipe: str
    width: float = 1.0
    epochs: int | None = None  # None: the recipe's own
    tensorboard: bool = False

    def resolved(self, task: Task) -> Recipe:
        """The recipe, with the epochs asked for. ValueError if that or TensorBoard is not there."""
        if self.tensorboard and not importlib.util.find_spec("tensorboard"):
            raise ValueError(
                "--tensorboard needs a package that is not installed: pip install tensorboard."
            )
        if self.recipe not in task.recipes:
            raise ValueError(
                f"task {task.name} has no recipe {self.recipe!r}; recipes here: "
                + ", ".join(task.recipes)
            )
        recipe = task.recipes[self.recipe]
        return recipe if self.epochs is None else dataclasses.replace(recipe, epochs=self.epochs)

    def notes(self, task: Task) -> list[str]:
        """What the user, and a reader of the row, should know of this training. ValueError as `resolved`."""
        untrained = (
            "--epochs 0 trains nothing: these are the random weights that training begins with."
        )
        return [] if self.resolved(task).epochs else [untrained]

    @property
    def label(self) -> str:
        """The words that ask for this training."""
        width = "" if self.width == 1 else f" --width {self.width}"
        epochs = "" if self.epochs is None else f" --epochs {self.epochs}"
        return f"train --recipe {self.recipe}{width}{epochs}"

    def folder_name(self, run: str) -> str:
        """The name of the folder of the run with that key."""
        return f"{self.label.replace(' --', '-').replace(' ', '-')}-{run[:12]}"

    def run(self, bench: Workbench) -> tuple[Path, Result, dict[str, Any]]:
        """Train, or find the same training done. Gives the run folder, the row and the summary."""
        recipe = self.resolved(bench.task)
        run = bench.keys.of_training(recipe, self.width)
        folder = bench.out / self.folder_name(run)
        with claimed(folder, bench.progress.note):
            if bench.fresh:
                empty(folder, but=LOCK)
            if found := finished(folder):
                row, manifest = found
                bench.reuse(self.label, folder, row)
                return folder, row, manifest["summary"]
            began = time.monotonic()
            model, history = self._fit(recipe, bench, folder)
            exported = model.to_tflite()
            row = bench.row(
                exported,
                run=run,
                label=self.label,
                pipeline=[],
                incoming=model.digest,
                params=model.params,
                seconds=sum(r["seconds"] for r in history) or time.monotonic() - began,
                notes=self.notes(bench.task),
            )
            summary = {"params_budget": _budget(bench.task)} | summarise(
                history, row, recipe, len(bench.data.validation)
            )
            _publish(folder, history)
            keep(folder, row, exported, model, summary=summary, recipe=dataclasses.asdict(recipe))
            append_to(bench.results, row)
            shutil.rmtree(folder / "checkpoint", ignore_errors=True)
        return folder, row, summary

    def _fit(self, recipe: Recipe, bench: Workbench, folder: Path) -> tuple[KerasModel, History]:
        keras = backend.keras()
        set_seed(keras, bench.seed, bench.deterministic)
        model = bench.task.build(width=self.width, dropout=recipe.dropout)
        boards = (
            [keras.callbacks.TensorBoard(str(folder / "tensorboard"))] if self.tensorboard else []
        )
        history = fit(
            model, recipe, bench.view(folder), seed=bench.seed, title=self.label, callbacks=boards
        )
        return KerasModel(model), history


def _publish(folder: Path, history: History) -> None:
    """Write log and curves. Not the checkpoint's log: a process killed between the two lets it lag behind."""
    from compress.report.plots import training_curves

    if not history:
        return
    with replacing(folder / "log.csv") as temporary, temporary.open("w", newline="") as file:
        log = csv.DictWriter(file, list(history[0]), lineterminator="\n")
        log.writeheader()
        log.writerows(history)
    training_curves(history, folder)


def _budget(task: Task) -> int | None:
    """The number of parameters that the task's published model was to keep to, if one is published."""
    from compress.report.references import read_references

    figures = read_references(task.references())
    return next((int(f.value) for f in figures if f.quantity == "params_budget"), None)


def summarise(
    history: History, row: Result, recipe: Recipe, validation_images: int
) -> dict[str, Any]:
    """The figures the published baseline was described with, each accuracy with its 95 % Wilson interval."""
    summary: dict[str, Any] = {"params": row.params, "digest": digest(dataclasses.asdict(recipe))}
    if history:
        loss = min(history, key=lambda r: r["validation_cross_entropy"])
        best = max(history, key=lambda r: r["validation_accuracy"])
        right = round(best["validation_accuracy"] * validation_images)
        summary |= {
            "best_validation_cross_entropy": loss["validation_cross_entropy"],
            "best_validation_cross_entropy_epoch": loss["epoch"],
            "best_validation_accuracy": best["validation_accuracy"],
            "best_validation_accuracy_epoch": best["epoch"],
            "best_validation_accuracy_interval": list(wilson_interval(right, validation_images)),
        }
    return summary | {
        "kept": recipe.keep,
        "test_cross_entropy": row.cross_entropy,
        "test_accuracy": row.top1,
        "test_accuracy_interval": [row.top1_low, row.top1_high],
    }
