"""From options to a workbench and the model to begin with: task, data and model file, checked before any work."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path

from compress.cli import console
from compress.data.dataset import Dataset
from compress.keras_models.model import KerasModel
from compress.keras_models.rebuild import flattened
from compress.model_files import load
from compress.runs.context import Workbench, check_places
from compress.runs.digest_index import KnownModel
from compress.runs.options import RunOptions
from compress.tasks import images
from compress.tasks.task import Task
from compress.tflite.model import TFLiteModel


def bench(options: RunOptions) -> Workbench:
    """The workbench that the options ask for, its data loaded."""
    check_places(options.out, options.results)  # before the data are looked for
    teller = console.progress()
    return Workbench(
        task=options.task,
        data=options.load(teller.note),
        seed=options.seed,
        deterministic=options.deterministic,
        decided=options.decided,
        out=options.out,
        results=options.results,
        progress=teller,
        measured_on=options.measured_on,
        # Names of files may be no text; a row is.
        command=shlex.join(["compress", *sys.argv[1:]]).encode(errors="backslashreplace").decode(),
        fresh=options.fresh,
        trust=options.trust,
    )


def start(options: RunOptions, bench: Workbench) -> tuple[KerasModel, Workbench]:
    """The Keras model to begin with, by default the task's baseline, and the bench with the task as it suits it."""
    path = options.model or options.task.baseline_path()
    if path is None:
        name = bench.task.name
        made = f"make one with `compress train --task {name}` and " if bench.task.recipes else ""
        raise ValueError(
            f"task {name} ships no trained baseline: {made}name a model file with --model."
        )
    model, task = fitting(path, bench.task, bench.data, options.input_scale, options.trust)
    if not isinstance(model, KerasModel):
        raise ValueError(f"{path} is a .tflite file; stages start from a .keras or .h5 model.")
    model, notes = flattened(model)
    for sentence in notes:
        bench.progress.note(sentence)
    options.remember_model(path, KnownModel(model.digest, task.input_scale, tuple(notes)))
    return model, dataclasses.replace(bench, task=task)


def fitting(
    path: Path, task: Task, data: Dataset, input_scale: float | None, trust: bool
) -> tuple[KerasModel | TFLiteModel, Task]:
    model = load.load(path, trust)
    task = images.suited(task, data, model, input_scale)
    load.check_fits(model, task.input_shape, len(data.classes), task.name)
    return model, task
