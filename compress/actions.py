"""What each command does, from parsed words to printed results. Imported when a command runs, never for help."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from compress import console, model_file, opening, own_data, pipeline_file, proof, registry
from compress.doctor import Fix, consult
from compress.inspect import rows_of
from compress.measurement import measure
from compress.model import KerasModel
from compress.pipeline import Pipeline
from compress.report import pages, references, tables
from compress.result import Result, read_from
from compress.stage import Stage
from compress.trainer import Training
from compress.workbench import Workbench


def run(
    pipeline: Pipeline,
    model: Path | None,
    input_scale: float | None,
    as_json: bool,
    trust: bool,
    **words: Any,
) -> None:
    """Compress `model`, or the task's baseline, and show the rows beside what is published."""
    if model:
        model_file.suffix_of(model)  # before the data is looked for
    start, bench = opening.start(model, opening.bench(trust=trust, **words), input_scale)
    _show(pipeline.run(start, bench), bench, as_json)


def train(training: Training, input_scale: float | None, as_json: bool, **words: Any) -> None:
    """Train from scratch and show the summary."""
    asked = registry.task(words["task"])
    if not asked.recipes:
        raise ValueError(
            f"task {asked.name} has no recipe to train from scratch by: give the other commands a model of your own "
            "with --model, or write a task (docs/adding-a-task.md) and name it with --task MODULE:OBJECT."
        )
    training.resolved(asked)
    bench = opening.bench(**words)
    own_data.suited(bench.task, bench.data, None, input_scale)
    folder, row, summary = training.run(bench)
    if as_json:
        console.say_json(
            {"folder": str(folder), "summary": summary, "result": dataclasses.asdict(row)}
        )
        return
    console.print_summary(summary)
    console.say("", f"Run folder: {folder}. Row: {bench.results}.")


def run_file(
    file: Path,
    model: Path | None,
    input_scale: float | None,
    as_json: bool,
    trust: bool,
    seed: int,
    **words: Any,
) -> None:
    """Run the pipelines of a file and show their rows; ValueError at the end if one failed."""
    plans = pipeline_file.read(file, seed, model)
    bench = opening.bench(seed=seed, trust=trust, **words)
    models = {plan.model for plan in plans}
    starts = {path: opening.start(path, bench, input_scale) for path in models}
    pipeline_file.check(plans, starts)
    outcomes = pipeline_file.run(plans, starts)
    rows = list({row.run: row for outcome in outcomes for row in outcome.rows}.values())
    if as_json and rows:
        _write_report(read_from(bench.results), bench.results.parent)
    elif rows:
        _show(rows, bench, as_json)
        console.say("")
    if as_json:
        console.say_json([outcome.record() for outcome in outcomes])
    else:
        console.print_records([outcome.summary() for outcome in outcomes])
    failed = [outcome.planned.name for outcome in outcomes if outcome.error is not None]
    if failed:
        raise ValueError(f"{len(failed)} of {len(outcomes)} pipelines failed: {', '.join(failed)}.")


def evaluate(
    file: Path,
    task: str,
    data: Path | None,
    input_scale: float | None,
    trust: bool,
    as_json: bool,
) -> None:
    """Measure one model file on the task's test images; nothing is kept."""
    model_file.suffix_of(file)  # before the data is looked for
    teller = console.progress()
    chosen = registry.task(task)
    dataset = chosen.load(data, teller.note)
    model, chosen = opening.fitting(file, chosen, dataset, input_scale, trust)
    exported = model.to_tflite() if isinstance(model, KerasModel) else model
    measured = measure(exported, dataset, chosen.input_scale)
    if as_json:
        console.say_json(
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


def inspect(file: Path, trust: bool, as_json: bool) -> None:
    """Show a model file layer by layer."""
    rows = rows_of(model_file.load(file, trust))
    if as_json:
        console.say_json(rows)
    else:
        console.print_records(rows)


def doctor(
    stages: Sequence[Stage],
    file: Path,
    fix: Path | None,
    task: str | None,
    as_json: bool,
    **words: Any,
) -> bool:
    """Show what each stage, by default every installed one, can make of a model; whether each can work."""
    every = [registry.stage(name) for name in registry.stage_names()]
    stages = stages or [cls() for cls in every if cls.takes == KerasModel.format]
    images = _sample(task, words.pop("data"), words.pop("input_scale"))
    said = consult(file, stages, fix=Fix(fix, images) if fix else None, **words)
    if as_json:
        console.say_json(said)
    else:
        console.print_opinions(said)
    return all(opinion["can_work"] for opinion in said["stages"])


def _sample(
    task: str | None, data: Path | None, input_scale: float | None
) -> Callable[[KerasModel], proof.Images]:
    """The images to compare models on, of a task that is loaded now, or random ones."""
    if task is None:
        return proof.random_images
    chosen = registry.task(task)
    loaded = chosen.load(data, console.progress().note)
    return lambda model: proof.task_images(model, chosen, loaded, input_scale)


def report(results: Path, out: Path | None) -> None:
    """Write the comparison pages of all rows."""
    if not results.exists():
        raise ValueError(f"no rows at {results}: `compress run prune --sparsity 0.5` makes some.")
    for path in _write_report(read_from(results), out or results.parent):
        console.say(str(path))


def _show(rows: Sequence[Result], bench: Workbench, as_json: bool) -> None:
    written = _write_report(read_from(bench.results), bench.results.parent)
    if as_json:
        console.say_json([dataclasses.asdict(r) for r in rows])
        return
    figures = references.read_references(bench.task.references())
    table = tables.compact(tables.compared(rows, figures))
    console.print_records([dict(zip(map(str, table), r, strict=True)) for r in table.to_numpy()])
    for sentence in references.judgements(figures):
        console.say("", sentence)
    if figures and bench.data.name not in {f.data for f in figures}:
        console.say(
            "", f"Published figures are not about {bench.data.name}; --data names the full set."
        )
    console.say("", f"Rows: {bench.results}. Report: {written[0]}. Run folders: {bench.out}.")


def _write_report(rows: Sequence[Result], out: Path) -> list[Path]:
    # A task named as MODULE:OBJECT, or one that is no longer installed, has no published figures here.
    names = sorted({r.task for r in rows} & set(registry.task_names()))
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
        console.say_json(listed)
    else:
        console.print_records([{k: v for k, v in s.items() if k != "options"} for s in listed])


def chain(stages: Sequence[Stage]) -> Pipeline:
    """The pipeline of these stages; wrong words if their formats do not fit."""
    try:
        return Pipeline(tuple(stages))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
