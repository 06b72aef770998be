"""The code of `compress train`, from its options to the printed summary, and of its `--dry-run`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from compress import backend, typed_options
from compress.cli import console
from compress.cli.commands import run_context
from compress.keras_models.model import KerasModel
from compress.measurement.predicted_size import predicted_size
from compress.pipelines import reuse, setup
from compress.report import references
from compress.runs.folder import RunFolder
from compress.runs.options import RunOptions
from compress.runs.training_run import Training, measured_summary, read_log
from compress.tasks.network import Network
from compress.tasks.task import Task


def train(training: Training, options: RunOptions) -> None:
    """Train from scratch and show the summary."""
    task = options.task
    if not training.network_of(task).recipes:
        raise ValueError(
            f"task {task.name} has no recipe for training from scratch: give the other commands your own model "
            "with --model, or write a task (docs/adding-a-task.md) and name it with --task MODULE:OBJECT."
        )
    if options.input_scale is not None:
        task = task.with_input_scale(options.input_scale)
        options = dataclasses.replace(options, task=task)
    note = console.progress().note
    for sentence in training.notes(task):
        note(sentence)
    if options.no_measure:
        _only_train(training, options)
        return
    outcome = None if options.fresh else reuse.training(training, options, note)
    if outcome is None:
        outcome = training.run(run_context(options))
    folder, finished_run = outcome
    _draw_curves(folder)
    row = finished_run.rows[options.measured_on]
    summary = {"params_budget": _params_budget(task)}
    summary |= measured_summary(finished_run, options.measured_on)
    if options.as_json:
        console.say_json({"folder": str(folder), "summary": summary, "result": row.record()})
        return
    console.print_summary(summary, options.measured_on)
    console.say("", f"Run folder: {folder}. Row: {options.results}.")


def _only_train(training: Training, options: RunOptions) -> None:
    """Train without measuring; a later command measures."""
    setup.check_backend(options)
    if training.tensorboard and backend.name() != "tensorflow":
        raise ValueError("--tensorboard needs TensorFlow to write its logs: leave it out on jax.")
    folder = training.keep_unmeasured(run_context(options))
    _draw_curves(folder)
    if options.as_json:
        console.say_json({"folder": str(folder)})


def show_size(network: Network, as_json: bool) -> None:
    """Show the parameters, MACs and predicted file sizes of a network, which is built without data."""
    size = predicted_size(KerasModel(network.build()))
    named = {"network": network.name, "options": typed_options.values(network)}
    if as_json:
        console.say_json(named | dataclasses.asdict(size))
        return
    console.print_pairs(
        {
            "network": " ".join([network.name, *network.words()]),
            "parameters": f"{size.params:,}, with BatchNormalization folded",
            "multiply-accumulates": f"{size.macs:,} per image",
            "file, float32": f"about {size.float32_bytes:,} bytes as .tflite",
            "file, int8": f"about {size.int8_bytes:,} bytes",
            "file, int4": f"about {size.int4_bytes:,} bytes",
        }
    )


def _draw_curves(folder: Path) -> None:
    """Draw the curves of a training beside its log, unless the picture exists."""
    history = read_log(folder)
    curves = RunFolder(folder).curves
    if history and not curves.with_suffix(".png").exists():
        from compress.report.plots import training_curves

        training_curves(history, curves)


def _params_budget(task: Task) -> int | None:
    """The published parameter budget of the task; None if none is published."""
    figures = references.read_references(task.references())
    return next((int(f.value) for f in figures if f.quantity == "params_budget"), None)
