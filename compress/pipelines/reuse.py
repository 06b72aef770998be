"""The rows of finished runs for a repeated command, read without opening the data or importing TensorFlow."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from compress.data.dataset import Note
from compress.pipelines.pipeline import Pipeline
from compress.rows.result import Result
from compress.runs import precision
from compress.runs.context import add_kept_row
from compress.runs.folder import FinishedRun, RunFolder
from compress.runs.options import RunOptions
from compress.runs.trained import JAX
from compress.runs.training_run import Training


def pipeline_rows(pipeline: Pipeline, options: RunOptions, note: Note) -> list[Result] | None:
    """The rows of a pipeline's prefixes, the baseline first; None unless every run is finished.

    Also None if the digests of the data or of the starting model are not in the index. Rows that are missing from
    `options.results` are appended to it.
    """
    found = _pipeline_rows(pipeline, options, note)
    return found or _pipeline_rows(pipeline, _on_jax(options), note)


def _pipeline_rows(pipeline: Pipeline, options: RunOptions, note: Note) -> list[Result] | None:
    path = options.model or options.task.baseline_path()
    key = options.data_key()
    data = options.index.data(key) if key else None
    if path is None or not path.is_file() or key is None or data is None:
        return None
    model = options.index.model(options.model_key(path, key))
    if model is None:
        return None
    keys = options.context(data, model.input_scale)
    longest = precision.of_pipeline(pipeline.stages, model.digest, keys)
    chosen = precision.known(options, longest, data.train_pixels)
    if chosen is None:
        return None
    keys = precision.decided(keys, chosen)
    finished = []
    for prefix in pipeline.prefixes():
        run = keys.of_pipeline(prefix.stages, model.digest)
        folder = RunFolder.named(options.out, prefix.folder_name(run))
        finished_run = folder.load()
        if finished_run is None or not finished_run.has(
            options.measured_on, options.micro_accuracy
        ):
            return None
        finished.append((prefix.label, folder, finished_run.rows[options.measured_on]))
    for sentence in (*data.notes, *model.notes):
        note(sentence)
    for label, folder, row in finished:
        add_kept_row(options.results, label, folder, row, note)
    return [row for _, _, row in finished]


def training(asked: Training, options: RunOptions, note: Note) -> tuple[Path, FinishedRun] | None:
    """The run folder of a training and its content; None unless it is finished and its data are in the index."""
    return _training(asked, options, note) or _training(asked, _on_jax(options), note)


def _on_jax(options: RunOptions) -> RunOptions:
    """The options of the same runs, trained on JAX."""
    return dataclasses.replace(options, decided={**options.decided, "backend": JAX})


def _training(asked: Training, options: RunOptions, note: Note) -> tuple[Path, FinishedRun] | None:
    key = options.data_key()
    data = options.index.data(key) if key else None
    if data is None:
        return None
    keys = options.context(data, options.task.input_scale)
    recipe, network = asked.resolved(options.task), asked.network_of(options.task)
    longest = precision.of_training(recipe, network, keys)
    chosen = precision.known(options, longest, data.train_pixels)
    if chosen is None:
        return None
    run = precision.decided(keys, chosen).of_training(recipe, network)
    folder = RunFolder.named(options.out, asked.folder_name(options.task, run))
    finished_run = folder.load()
    if finished_run is None or not finished_run.has(options.measured_on, options.micro_accuracy):
        return None
    for sentence in data.notes:
        note(sentence)
    row = finished_run.rows[options.measured_on]
    add_kept_row(options.results, asked.label(options.task), folder, row, note)
    return folder.path, finished_run
