"""From options to a run context and the start model: task, data and model file are checked before any work."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from compress import backend
from compress.data.dataset import Dataset, Note
from compress.files import sha256
from compress.keras_models.model import KerasModel
from compress.keras_models.rebuild import flattened
from compress.measurement import chance
from compress.measurement.measure import check_fits as check_graph
from compress.measurement.measure import measure
from compress.model_files.fits_task import check_fits, check_header
from compress.model_files.load import load_model
from compress.rows.measurement import MeasuredOn, Measurement
from compress.runs import seen
from compress.runs.context import RunContext, check_places
from compress.runs.digest_index import KnownModel
from compress.runs.folder import MODELS
from compress.runs.options import RunOptions
from compress.runs.trained import JAX
from compress.stage import Stage
from compress.tasks import images, input_scale
from compress.tasks.task import Task
from compress.tflite.model import TFLiteModel
from compress.training.progress import Progress

IN_MEMORY = "a model in memory"  # the name of a model without a file


def run_context(options: RunOptions, progress: Progress, command: str) -> RunContext:
    """The run context that the options ask for, with its data loaded.

    Args:
      command: the command line or call that rows record.
    """
    check_backend(options)
    check_places(options.out, options.results)  # before looking for the data
    why = f"--train-on {options.train_on} trains on validation images"
    seen.check_unseen(options.measured_on, options.train_on, why)
    data = options.load(progress.note)
    return RunContext(
        task=input_scale.of_data(options.task, data, options.input_scale),
        data=data,
        seed=options.seed,
        deterministic=options.deterministic,
        precision=options.precision,
        decided={**options.decided, **({"backend": JAX} if backend.name() == JAX else {})},
        out=options.out,
        results=options.results,
        progress=progress,
        train_on=options.train_on,
        measured_on=options.measured_on,
        command=command,
        fresh=options.fresh,
        trust=options.trust,
        micro_accuracy=options.micro_accuracy,
    )


def check_backend(options: RunOptions, stages: Sequence[Stage] = ()) -> None:
    """Raise ValueError if the backend of Keras cannot do what the options and the stages ask for."""
    name = backend.name()
    if name == "tensorflow":
        return
    if name != JAX:
        raise ValueError(
            f"Keras is set to compute on {name!r}; expected tensorflow, or jax to train with --no-measure: change "
            "KERAS_BACKEND."
        )
    if not options.no_measure:
        raise ValueError(
            "Keras is set to compute on jax, and measuring needs TensorFlow: run `compress train` or `compress "
            "distill` with --no-measure, and measure later with the same command without it, on TensorFlow."
        )
    if importlib.util.find_spec(JAX) is None:
        raise ValueError(
            "Keras is set to compute on jax, which is not installed: pip install 'compress-cnn[jax]'."
        )
    for stage in stages:
        if stage.needs_tensorflow:
            raise ValueError(
                f"{stage.name} needs TensorFlow, and Keras is set to compute on jax: unset KERAS_BACKEND."
            )
    if options.deterministic:
        raise ValueError(
            "--deterministic orders the additions of TensorFlow, and Keras is set to compute on jax: leave it out."
        )


def check_tensorflow(command: str, file: Path) -> None:
    """Raise ValueError if a command needs TensorFlow for a model file, but Keras is set to compute on another."""
    name = backend.name()
    if name != "tensorflow" and file.suffix.lower() != ".tflite":
        raise ValueError(
            f"Keras is set to compute on {name!r}, and `compress {command}` needs TensorFlow for {file}: unset "
            "KERAS_BACKEND, or set it to tensorflow."
        )


def start(options: RunOptions, context: RunContext) -> tuple[KerasModel, RunContext]:
    """The Keras model to start from, by default the task's baseline, and the context with its task fitted to it."""
    path = options.model or options.task.baseline_path()
    if path is None:
        name = context.task.name
        training_hint = (
            f"make one with `compress train --task {name}` and " if context.task.recipes else ""
        )
        raise ValueError(
            f"task {name} ships no trained baseline: {training_hint}name a model file with --model."
        )
    if options.model:
        check_declared_shapes(path, context.task, context.data)
    loaded = load_model(path, options.trust)
    if not isinstance(loaded, KerasModel):
        raise ValueError(f"{path} is a .tflite file; stages start from a .keras or .h5 model.")
    context, found = _fitted_context(loaded, options, context, vouched=options.model is None)
    model, notes = _flat(loaded, context)
    trained_on = seen.of_file(path)
    seen.check_file(str(path), trained_on, context.measured_on)
    context = dataclasses.replace(
        context, model_file=_file_name(path, options), model_trained_on=trained_on
    )
    known = KnownModel(model.digest, context.task.input_scale, (*found, *notes))
    options.remember_model(path, known)
    return model, context


def start_from(
    model: KerasModel, options: RunOptions, context: RunContext
) -> tuple[KerasModel, RunContext]:
    """Like `start`, for a model in memory."""
    context, _ = _fitted_context(model, options, context)
    context = dataclasses.replace(context, model_file=IN_MEMORY)
    return _flat(model, context)[0], context


def check_declared_shapes(path: Path, task: Task, data: Dataset) -> None:
    """Raise ValueError if a model file declares other images or classes than the task's. Imports no TensorFlow."""
    check_header(path, data.train.images.shape[1:], len(data.classes), task.name)


def fitted(
    model: KerasModel | TFLiteModel,
    task: Task,
    data: Dataset,
    input_scale: float | None,
    *,
    vouched: bool = False,
) -> tuple[Task, list[str]]:
    """The task, fitted to the model, and sentences on what was detected: see `images.suited`.

    Raises:
      ValueError: the model does not take the images or give the classes of the task, or its input scale is not known.
    """
    check_fits(model, data.train.images.shape[1:], len(data.classes), task.name)
    if isinstance(model, TFLiteModel):
        check_graph(model.graph, data.train.images.shape[1:], len(data.classes))
    return images.suited(task, data, model, input_scale, vouched=vouched)


def evaluated(
    model: KerasModel | TFLiteModel,
    task: Task,
    data: Dataset,
    input_scale: float | None,
    *,
    on: MeasuredOn = "test",
    micro_accuracy: bool = False,
    note: Note,
) -> tuple[Measurement, float, list[str]]:
    """The measurement of a model, its input scale, and sentences on what was detected, which `note` also gets."""
    fitted_task, found = fitted(model, task, data, input_scale)
    exported = model.to_tflite() if isinstance(model, KerasModel) else model
    measured, _ = measure(
        exported, data, fitted_task.input_scale, on=on, micro_accuracy=micro_accuracy
    )
    if (guessing := chance.level(measured, data)) is not None:
        found.append(chance.sentence(measured, guessing))
    for sentence in found:
        note(sentence)
    return measured, fitted_task.input_scale, found


def _fitted_context(
    model: KerasModel, options: RunOptions, context: RunContext, vouched: bool = False
) -> tuple[RunContext, list[str]]:
    """The context with its task fitted to the model, and sentences on what was detected, which are also shown."""
    task, found = fitted(model, context.task, context.data, options.input_scale, vouched=vouched)
    for sentence in found:
        context.progress.note(sentence)
    other = task.input_scale != context.task.input_scale
    recorded = {"input_scale": task.input_scale} if other else {}
    return dataclasses.replace(context, task=task, found=tuple(found), recorded=recorded), found


def _file_name(path: Path, options: RunOptions) -> str | None:
    """The name of a model file, for rows; None if it holds the task's own baseline.

    All models in run folders have the same file name, so the name of the folder is added.
    """
    own = options.task.baseline_path()
    if options.model is None or (own is not None and sha256(path) == sha256(own)):
        return None
    names = path.absolute().parts[-2:] if path.name in MODELS.values() else (path.name,)
    # A file name may hold bytes that are not text; a row holds only text.
    return "/".join(names).encode(errors="backslashreplace").decode()


def _flat(model: KerasModel, context: RunContext) -> tuple[KerasModel, list[str]]:
    flat, notes = flattened(model)
    for sentence in notes:
        context.progress.note(sentence)
    return flat, notes
