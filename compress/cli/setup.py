"""From words to a workbench and the model to begin with: task, data and model file, checked before any work."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Any

from compress import registry
from compress.cli import console
from compress.data.dataset import Dataset
from compress.keras_models.model import KerasModel
from compress.keras_models.rebuild import flattened
from compress.model_files import load
from compress.pipelines.reuse import Request
from compress.runs.context import Workbench, check_places
from compress.runs.digest_index import KnownModel
from compress.tasks import images
from compress.tasks.task import Task
from compress.tflite.model import TFLiteModel


def request(
    *, task: str, data: Path | None, out: Path, seed: int, deterministic: bool, **words: Any
) -> Request:
    """What the words that commands share ask for, with `model`, `input_scale` and `trust` where a command has them."""
    return Request(
        task=registry.task(task),
        data=data,
        out=out,
        seed=seed,
        deterministic=deterministic,
        **words,
    )


def bench(request: Request, *, results: Path, fresh: bool) -> Workbench:
    """The workbench of a request, its data loaded."""
    check_places(request.out, results)  # before the data are looked for
    teller = console.progress()
    return Workbench(
        task=request.task,
        data=request.load(teller.note),
        seed=request.seed,
        deterministic=request.deterministic,
        decided=request.decided,
        out=request.out,
        results=results,
        progress=teller,
        measured_on=request.measured_on,
        # Names of files may be no text; a row is.
        command=shlex.join(["compress", *sys.argv[1:]]).encode(errors="backslashreplace").decode(),
        fresh=fresh,
        trust=request.trust,
    )


def start(request: Request, bench: Workbench) -> tuple[KerasModel, Workbench]:
    """The Keras model to begin with, by default the task's baseline, and the bench with the task as it suits it."""
    path = request.model or request.task.baseline_path()
    if path is None:
        name = bench.task.name
        made = f"make one with `compress train --task {name}` and " if bench.task.recipes else ""
        raise ValueError(
            f"task {name} ships no trained baseline: {made}name a model file with --model."
        )
    model, task = fitting(path, bench.task, bench.data, request.input_scale, request.trust)
    if not isinstance(model, KerasModel):
        raise ValueError(f"{path} is a .tflite file; stages start from a .keras or .h5 model.")
    model, notes = flattened(model)
    for sentence in notes:
        bench.progress.note(sentence)
    request.remember_model(path, KnownModel(model.digest, task.input_scale, tuple(notes)))
    return model, dataclasses.replace(bench, task=task)


def fitting(
    path: Path, task: Task, data: Dataset, input_scale: float | None, trust: bool
) -> tuple[KerasModel | TFLiteModel, Task]:
    model = load.load(path, trust)
    task = images.suited(task, data, model, input_scale)
    load.check_fits(model, task.input_shape, len(data.classes), task.name)
    return model, task
