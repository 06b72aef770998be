"""From words to a workbench and the model to begin with: task, data and model file, checked before any work."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Any

from compress import console, model_file, own_data, registry
from compress.graph import flattened
from compress.model import KerasModel, TFLiteModel
from compress.task import Dataset, Task
from compress.workbench import Workbench


def bench(*, task: str, data: Path | None, **words: Any) -> Workbench:
    teller = console.progress()
    chosen = registry.task(task)
    return Workbench(
        task=chosen,
        data=chosen.load(data, teller.note),
        progress=teller,
        command=shlex.join(["compress", *sys.argv[1:]]),
        **words,
    )


def start(
    path: Path | None, bench: Workbench, input_scale: float | None
) -> tuple[KerasModel, Workbench]:
    """The Keras model to begin with, by default the task's baseline, and the bench with the task as it suits it."""
    path = path or bench.task.baseline_path()
    if path is None:
        name = bench.task.name
        made = f"make one with `compress train --task {name}` and " if bench.task.recipes else ""
        raise ValueError(
            f"task {name} ships no trained baseline: {made}name a model file with --model."
        )
    model, task = fitting(path, bench.task, bench.data, input_scale, bench.trust)
    if not isinstance(model, KerasModel):
        raise ValueError(f"{path} is a .tflite file; stages start from a .keras or .h5 model.")
    model, notes = flattened(model)
    for sentence in notes:
        bench.progress.note(sentence)
    return model, dataclasses.replace(bench, task=task)


def fitting(
    path: Path, task: Task, data: Dataset, input_scale: float | None, trust: bool
) -> tuple[KerasModel | TFLiteModel, Task]:
    model = model_file.load(path, trust)
    task = own_data.suited(task, data, model, input_scale)
    model_file.check_fits(model, task.input_shape, len(data.classes), task.name)
    return model, task
