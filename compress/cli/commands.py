"""What each command does, from its options to printed results. Imported when a command runs, never for help."""

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
from compress.pipelines import reuse, setup, toml_file
from compress.pipelines.pipeline import Pipeline
from compress.rows.measurement import Measurement
from compress.runs.context import RunContext
from compress.runs.options import RunOptions
from compress.stage import Stage
from compress.tasks.task import Task


def run(pipeline: Pipeline, options: RunOptions) -> None:
    """Compress a model, by default the task's baseline, and show the rows beside what is published."""
    if options.model:
        suffix_of(options.model)  # before the data is looked for
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


def run_context(options: RunOptions) -> RunContext:
    """The run context for these options; its progress is shown on the console."""
    # A file name may hold bytes that are not text; a row holds only text.
    command = shlex.join(["compress", *sys.argv[1:]]).encode(errors="backslashreplace").decode()
    return setup.run_context(options, console.progress(), command)


def run_file(file: Path, options: RunOptions) -> None:
    """Run the pipelines of a file and show their rows. Raises ValueError at the end if one of them failed."""
    plans = toml_file.read(file, options.seed, options.model)
    outcomes = None if options.fresh else _finished_outcomes(plans, options)
    if outcomes is None:
        context = run_context(options)
        models = {plan.model for plan in plans}
        starts = {
            path: setup.start(dataclasses.replace(options, model=path), context) for path in models
        }
        toml_file.check(plans, starts)
        outcomes = toml_file.run(plans, starts)
    rows = list({row.run: row for outcome in outcomes for row in outcome.rows}.values())
    if options.as_json and rows:
        results = options.results
        write_pages(results, results.parent, unless_current=True)
    elif rows:
        report_output.show(rows, options)
        console.say("")
    if options.as_json:
        console.say_json([outcome.record() for outcome in outcomes])
    else:
        console.print_records([outcome.summary() for outcome in outcomes])
    failed = [outcome.planned.name for outcome in outcomes if outcome.error is not None]
    if failed:
        raise ValueError(f"{len(failed)} of {len(outcomes)} pipelines failed: {', '.join(failed)}.")


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
    suffix_of(file)  # before the data is looked for
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
    """What to show of a microcontroller; nothing if it was not asked."""
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


def _finished_outcomes(
    plans: Sequence[toml_file.PlannedRun], options: RunOptions
) -> list[toml_file.Outcome] | None:
    """The outcomes of plans whose runs are all finished; None if one of them is not."""
    outcomes = []
    for plan in plans:
        plan_options = dataclasses.replace(options, model=plan.model, seed=plan.seed)
        rows = reuse.pipeline_rows(plan.pipeline, plan_options, console.progress().note)
        if rows is None:
            return None
        outcomes.append(toml_file.Outcome(plan, rows))
    return outcomes


def stages(as_json: bool) -> None:
    """List the stages, with their options if as JSON."""
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
    """The pipeline of these stages. Raises click.UsageError if their formats do not fit."""
    try:
        return Pipeline(tuple(stages))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
