"""What each command does, from parsed words to printed results. Imported when a command runs, never for help."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from compress import console, model_file, registry
from compress.inspect import rows_of
from compress.measure import measure
from compress.model import KerasModel, TFLiteModel
from compress.pipeline import Pipeline
from compress.report import pages, references, tables
from compress.result import Result, read_from
from compress.stage import Stage
from compress.task import Dataset, Task
from compress.trainer import Training
from compress.workbench import Workbench


def run(pipeline: Pipeline, model: Path | None, as_json: bool, **words: Any) -> None:
    """Compress `model`, or the task's baseline, and show the rows beside what is published."""
    bench = _bench(**words)
    path = model or bench.task.baseline_path()
    if path is None:
        raise ValueError(
            f"task {bench.task.name} ships no trained baseline: make one with "
            f"`compress train --task {bench.task.name}` and name its model.keras with --model."
        )
    loaded = _fitting(path, bench.task, bench.data)
    if not isinstance(loaded, KerasModel):
        raise ValueError(f"{path} is a .tflite file; stages start from a .keras or .h5 model.")
    _show(pipeline.run(loaded, bench), bench, as_json)


def train(training: Training, as_json: bool, **words: Any) -> None:
    """Train from scratch and show the summary."""
    training.resolved(registry.task(words["task"]))
    bench = _bench(**words)
    folder, row, summary = training.run(bench)
    if as_json:
        _print_json({"folder": str(folder), "summary": summary, "result": dataclasses.asdict(row)})
        return
    console.print_summary(summary)
    click.echo(f"\nRun folder: {folder}. Row: {bench.results}.")


def evaluate(file: Path, task: str, data: Path | None, as_json: bool) -> None:
    """Measure one model file on the task's test images; nothing is kept."""
    teller = console.progress()
    chosen = registry.task(task)
    dataset = chosen.load(data, teller.note)
    model = _fitting(file, chosen, dataset)
    exported = model.to_tflite() if isinstance(model, KerasModel) else model
    measured = measure(exported, dataset, chosen.input_scale)
    if as_json:
        _print_json(
            {"file": str(file), "task": task, "data": dataset.name} | dataclasses.asdict(measured)
        )
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
        }
    )


def inspect(file: Path, as_json: bool) -> None:
    """Show a model file layer by layer."""
    rows = rows_of(model_file.load(file))
    if as_json:
        _print_json(rows)
    else:
        console.print_records(rows)


def report(results: Path, out: Path | None) -> None:
    """Write the comparison pages of all rows."""
    if not results.exists():
        raise ValueError(f"no rows at {results}: `compress run prune --sparsity 0.5` makes some.")
    for path in _write_report(read_from(results), out or results.parent):
        click.echo(str(path))


def _bench(*, task: str, data: Path | None, **words: Any) -> Workbench:
    teller = console.progress()
    chosen = registry.task(task)
    return Workbench(
        task=chosen,
        data=chosen.load(data, teller.note),
        progress=teller,
        command=shlex.join(["compress", *sys.argv[1:]]),
        **words,
    )


def _fitting(path: Path, task: Task, data: Dataset) -> KerasModel | TFLiteModel:
    model = model_file.load(path)
    model_file.check_fits(model, task.input_shape, len(data.classes), task.name)
    return model


def _show(rows: Sequence[Result], bench: Workbench, as_json: bool) -> None:
    written = _write_report(read_from(bench.results), bench.results.parent)
    if as_json:
        _print_json([dataclasses.asdict(r) for r in rows])
        return
    figures = references.read_references(bench.task.references())
    table = tables.compact(tables.compared(rows, figures))
    console.print_records([dict(zip(map(str, table), r, strict=True)) for r in table.to_numpy()])
    for sentence in references.judgements(figures):
        click.echo(f"\n{sentence}")
    if figures and bench.data.name not in {f.data for f in figures}:
        click.echo(
            f"\nPublished figures are not about {bench.data.name}; --data names the full set."
        )
    click.echo(f"\nRows: {bench.results}. Report: {written[0]}. Run folders: {bench.out}.")


def _write_report(rows: Sequence[Result], out: Path) -> list[Path]:
    names = sorted({r.task for r in rows})
    return pages.write_report(
        rows, [p for name in names for p in registry.task(name).references()], out
    )


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
        _print_json(listed)
    else:
        console.print_records([{k: v for k, v in s.items() if k != "options"} for s in listed])


def chain(stages: Sequence[Stage]) -> Pipeline:
    """The pipeline of these stages; wrong words if their formats do not fit."""
    try:
        return Pipeline(tuple(stages))
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))
