"""The code of `compress inspect`. Imported when the command runs, never for help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from compress.cli import bytes_command, console, target_command
from compress.cli.options import with_task
from compress.keras_models.model import KerasModel
from compress.keras_models.rebuild import flattened
from compress.measurement.layer_table import layer_table
from compress.model_files.file_kind import suffix_of
from compress.model_files.load import load_model
from compress.pipelines import setup
from compress.quantization import int4
from compress.quantization.sensitivity import CALIBRATION, IMAGES, cost_table, kernel_costs
from compress.tasks.task import Task


def inspect(sensitivity: bool, by_bytes: bool, target: str | None, **values: Any) -> None:
    """Show a model file layer by layer, or in one of the other three ways. click.UsageError if two are asked for."""
    if sensitivity + by_bytes + (target is not None) > 1:
        raise click.UsageError(
            "--bytes, --target and --sensitivity show different things: give one of them."
        )
    if target is not None:
        target_command.inspect(target=target, **values)
    elif by_bytes:
        bytes_command.inspect(**values)
    elif sensitivity:
        costs(**with_task(values))
    else:
        layers(values["file"], values["trust"], values["as_json"])


def layers(file: Path, trust: bool, as_json: bool) -> None:
    """Show a model file layer by layer."""
    setup.check_tensorflow("inspect", file)
    rows = layer_table(load_model(file, trust))
    if as_json:
        console.say_json(rows)
    else:
        console.print_records(rows)


def costs(
    file: Path,
    task: Task,
    data: Path | None,
    input_scale: float | None,
    trust: bool,
    as_json: bool,
) -> None:
    """Show what 8 and 4 bits of each kernel of a Keras file cost, on the task's validation images."""
    suffix_of(file)  # before looking for the data
    setup.check_tensorflow("inspect", file)
    note = console.progress().note
    dataset = task.load(data, note)
    setup.check_declared_shapes(file, task, dataset)
    loaded = load_model(file, trust)
    if not isinstance(loaded, KerasModel):
        raise ValueError(
            f"{file} is finished: --sensitivity takes the .keras or .h5 model it was made of."
        )
    fitted_task, found = setup.fitted(loaded, task, dataset, input_scale)
    for sentence in found:
        note(sentence)
    scale = np.float32(fitted_task.input_scale)
    model = flattened(loaded)[0]
    chosen = np.random.default_rng(0).permutation(len(dataset.train))[:CALIBRATION]
    images, labels = (a[:IMAGES] for a in (dataset.validation.images, dataset.validation.labels))
    costs = kernel_costs(
        model, dataset.train.images[chosen] * scale, images * scale, labels, int4.possible(model)
    )
    if as_json:
        console.say_json(cost_table(costs))
        return
    console.print_records(
        [{k: "" if v is None else v for k, v in record.items()} for record in cost_table(costs)]
    )
