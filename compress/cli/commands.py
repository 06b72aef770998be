"""The code of the commands, from options to printed results. Imported when a command runs, never for help."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from compress import registry
from compress.api import write_pages
from compress.cli import console, report_output
from compress.micro.arena import MEASURED_WITH
from compress.model_files.file_kind import suffix_of
from compress.model_files.load import load_model
from compress.pipelines import reuse, setup
from compress.pipelines.pipeline import Pipeline
from compress.rows.measurement import Measurement
from compress.runs.context import RunContext
from compress.runs.options import RunOptions
from compress.stage import Stage
from compress.tasks.task import Task


def run(pipeline: Pipeline, options: RunOptions) -> None:
    """Compress a model, by default the task's baseline, and show the rows beside the published figures."""
    if options.model:
        suffix_of(options.model)  # before looking for the data
    if options.no_measure:
        setup.check_backend(options, pipeline.stages)
        start, context = setup.start(options, run_context(options))
        folder = pipeline.keep_unmeasured(start, context)
        if options.as_json:
            console.say_json({"folder": str(folder)})
        return
    note = console.progress().note
    rows = None if options.fresh else reuse.pipeline_rows(pipeline, options, note)
    if rows is None:
        start, context = setup.start(options, run_context(options))
        rows = pipeline.run(start, context)
    report_output.show(rows, options)


def run_context(options: RunOptions, words: Sequence[str] | None = None) -> RunContext:
    """The run context for these options; its progress is shown on the console.

    Args:
      words: the words of the command, for rows; None: those of this process.
    """
    # A file name may hold bytes that are not text; a row holds only text.
    command = (
        shlex.join(["compress", *(sys.argv[1:] if words is None else words)])
        .encode(errors="backslashreplace")
        .decode()
    )
    return setup.run_context(options, console.progress(), command)


def evaluate(
    file: Path,
    task: Task,
    data: Path | None,
    input_scale: float | None,
    micro_accuracy: bool,
    trust: bool,
    as_json: bool,
    task_name: str,
) -> None:
    """Measure one model file on the task's test images; no row is written."""
    suffix_of(file)  # before looking for the data
    setup.check_tensorflow("evaluate", file)
    progress = console.progress()
    dataset = task.load(data, progress.note)
    setup.check_declared_shapes(file, task, dataset)
    model = load_model(file, trust)
    measured, scale, notes = setup.evaluated(
        model, task, dataset, input_scale, micro_accuracy=micro_accuracy, note=progress.note
    )
    if as_json:
        named = {"file": str(file), "task": task_name, "data": dataset.name}
        found = {"input_scale": scale, "notes": notes}
        console.say_json(named | found | dataclasses.asdict(measured))
        return
    console.print_pairs(
        {
            "data": f"{dataset.name}, {measured.test_images:,} test images",
            "top-1": f"{measured.top1:.2%} (95 % interval {measured.top1_low:.2%} to {measured.top1_high:.2%})",
            "cross-entropy": f"{measured.cross_entropy:.4f}",
            "stored parameters": f"{measured.stored_params:,}, {measured.nonzero_params:,} of them not zero",
            "sparsity": f"{measured.sparsity:.2%} of kernel weights are zero",
            "multiply-accumulates": f"{measured.macs:,} per image",
            "file": f"{measured.file_bytes:,} bytes as .tflite, {measured.gzip_bytes:,} after gzip -9",
            "weights stored as": ", ".join(f"{n:,} {t}" for t, n in measured.weight_types.items()),
            **_on_micro(measured),
        }
    )


def _on_micro(measured: Measurement) -> dict[str, str]:
    """The lines about a microcontroller; none if TFLM was not asked for."""
    if measured.on_micro is None:
        return {}
    if measured.arena_bytes is None:
        return {"on TFLM": f"does not run: {measured.on_micro}"}
    shown = {"on TFLM": f"runs in an arena of {measured.arena_bytes:,} bytes ({MEASURED_WITH})"}
    if measured.micro_top1 is None:
        return shown
    accuracy = f"{measured.micro_top1:.2%}, another class than LiteRT for {measured.micro_disagreements:,} images"
    return shown | {"top-1 on TFLM": accuracy}


def report(results: Path, out: Path | None) -> None:
    """Write the comparison pages of all rows."""
    if not results.exists():
        raise ValueError(f"no rows at {results}: `compress run prune --sparsity 0.5` makes some.")
    for path in write_pages(results, out or results.parent):
        console.say(str(path))


def stages(as_json: bool) -> None:
    """List the stages; as JSON, with their options."""
    listed = [
        {
            "stage": name,
            "takes": cls.takes,
            "gives": cls.gives,
            "does": (cls.__doc__ or "").strip().splitlines()[0],
            "options": cls().spec() | {"stage": name},
        }
        for name, cls in ((n, registry.stage(n)) for n in registry.stage_names())
    ]
    if as_json:
        console.say_json(listed)
    else:
        console.print_records([{k: v for k, v in s.items() if k != "options"} for s in listed])


def chain(stages: Sequence[Stage]) -> Pipeline:
    """The pipeline of these stages. Raises click.UsageError if their formats do not fit together."""
    try:
        return Pipeline(tuple(stages))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
