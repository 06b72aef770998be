"""From options to a run context and the model to begin with: task, data and model file, checked before any work."""

from __future__ import annotations

import dataclasses

from compress.data.dataset import Dataset
from compress.keras_models.model import KerasModel
from compress.keras_models.rebuild import flattened
from compress.model_files.fits_task import check_fits
from compress.model_files.load import load_model
from compress.runs.context import RunContext, check_places
from compress.runs.digest_index import KnownModel
from compress.runs.options import RunOptions
from compress.tasks import images
from compress.tasks.task import Task
from compress.tflite.model import TFLiteModel
from compress.training.progress import Progress


def run_context(options: RunOptions, progress: Progress, command: str) -> RunContext:
    """The run context that the options ask for, its data loaded.

    Args:
      command: the command line or call that rows record.
    """
    check_places(options.out, options.results)  # before the data are looked for
    return RunContext(
        task=options.task,
        data=options.load(progress.note),
        seed=options.seed,
        deterministic=options.deterministic,
        precision=options.precision,
        decided=options.decided,
        out=options.out,
        results=options.results,
        progress=progress,
        measured_on=options.measured_on,
        command=command,
        fresh=options.fresh,
        trust=options.trust,
    )


def start(options: RunOptions, context: RunContext) -> tuple[KerasModel, RunContext]:
    """The Keras model to begin with, by default the task's baseline, and the context with its task fitted to it."""
    path = options.model or options.task.baseline_path()
    if path is None:
        name = context.task.name
        training_hint = (
            f"make one with `compress train --task {name}` and " if context.task.recipes else ""
        )
        raise ValueError(
            f"task {name} ships no trained baseline: {training_hint}name a model file with --model."
        )
    loaded = load_model(path, options.trust)
    task = fitted(loaded, context.task, context.data, options.input_scale)
    if not isinstance(loaded, KerasModel):
        raise ValueError(f"{path} is a .tflite file; stages start from a .keras or .h5 model.")
    model, notes = _flat(loaded, context)
    options.remember_model(path, KnownModel(model.digest, task.input_scale, tuple(notes)))
    return model, dataclasses.replace(context, task=task)


def start_from(
    model: KerasModel, options: RunOptions, context: RunContext
) -> tuple[KerasModel, RunContext]:
    """As `start`, for a model in memory."""
    task = fitted(model, context.task, context.data, options.input_scale)
    return _flat(model, context)[0], dataclasses.replace(context, task=task)


def fitted(
    model: KerasModel | TFLiteModel, task: Task, data: Dataset, input_scale: float | None
) -> Task:
    """The task, fitted to the model. ValueError if the model does not take its images or give its classes."""
    suited = images.suited(task, data, model, input_scale)
    check_fits(model, suited.input_shape, len(data.classes), suited.name)
    return suited


def _flat(model: KerasModel, context: RunContext) -> tuple[KerasModel, list[str]]:
    flat, notes = flattened(model)
    for sentence in notes:
        context.progress.note(sentence)
    return flat, notes
