"""What `compress train` does, from its options to the printed summary."""

from __future__ import annotations

from pathlib import Path

from compress.cli import console
from compress.cli.commands import run_context
from compress.pipelines import reuse
from compress.report import references
from compress.runs.options import RunOptions
from compress.runs.training_run import Training, measured_summary, read_log
from compress.tasks import images as image_task
from compress.tasks.task import Task

CURVES = "training_curves.png"


def train(training: Training, options: RunOptions) -> None:
    """Train from scratch and show the summary."""
    task = options.task
    if not task.recipes:
        raise ValueError(
            f"task {task.name} has no recipe to train from scratch by: give the other commands a model of your own "
            "with --model, or write a task (docs/adding-a-task.md) and name it with --task MODULE:OBJECT."
        )
    note = console.progress().note
    for sentence in training.notes(task):
        note(sentence)
    outcome = None if options.fresh else reuse.training(training, options, note)
    if outcome is None:
        context = run_context(options)
        image_task.suited(context.task, context.data, None, options.input_scale)
        outcome = training.run(context)
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


def _draw_curves(folder: Path) -> None:
    """Draw the curves of a training beside its log, unless the picture exists."""
    history = read_log(folder)
    if history and not (folder / CURVES).exists():
        from compress.report.plots import training_curves

        training_curves(history, folder)


def _params_budget(task: Task) -> int | None:
    """The published parameter budget of the task; None if none is published."""
    figures = references.read_references(task.references())
    return next((int(f.value) for f in figures if f.quantity == "params_budget"), None)
