"""The commands and their options; the only place that exits. Nothing heavy is imported until a command runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from compress import registry
from compress.cli import file_commands
from compress.cli.compare_options import compare
from compress.cli.data_options import data
from compress.cli.options import (
    DATA,
    FILE,
    JSON,
    MICRO,
    MODEL,
    MODEL_FILE,
    NO_MEASURE,
    OUT,
    PIXELS,
    RESULTS,
    RUN_OPTIONS,
    TRUST,
    FileThenStages,
    MainGroup,
    run_options,
    with_task,
)
from compress.cli.param_types import Age, TaskName
from compress.cli.search_options import search
from compress.cli.train_options import TRAIN_OPTIONS, Train, network_from
from compress.cli.worker_options import WORKER_OPTIONS, taken_out
from compress.pipelines.words import StageGroup, known

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

    from compress.runs.options import RunOptions
    from compress.stage import Stage


@click.group(cls=MainGroup)
@click.version_option(package_name="compress-cnn", prog_name="compress")
def cli() -> None:
    """Make small image CNNs smaller, and say truthfully what that cost."""


def _run_stage(stage: Stage, options: RunOptions) -> None:
    from compress.cli import commands

    commands.run(commands.chain([stage]), options)


cli.run_stage = _run_stage


@cli.group(
    cls=StageGroup,
    chain=True,
    params=[
        MODEL,
        TRUST,
        click.Option(["--pipeline"], type=FILE, help="TOML file of pipelines, instead of stages."),
        *WORKER_OPTIONS,
        *RUN_OPTIONS,
    ],
    invoke_without_command=True,
)
def run(**values: Any) -> None:
    """Compress a model with stages, which run in the order given.

    The options below may stand before the first stage or after any stage.

    For instance: compress run prune --sparsity 0.5 --seed 3
    """


@run.result_callback()
def _run_stages(stages: list[Stage], pipeline: Path | None, **values: Any) -> None:
    if not stages and not pipeline:
        names = ", ".join(registry.stage_names())
        raise click.UsageError(f"no stage given, as in `compress run prune`; stages here: {names}.")
    if stages and pipeline:
        raise click.UsageError(
            "give the stages either in the file of --pipeline or here, not in both."
        )
    workers = taken_out(values, pipeline)
    if pipeline:
        from compress.cli import pipeline_command

        pipeline_command.run_file(pipeline, run_options(values), workers)
        return
    from compress.cli import commands

    commands.run(commands.chain(stages), run_options(values))


@cli.command(cls=Train, params=[*TRAIN_OPTIONS, *RUN_OPTIONS, NO_MEASURE])
def train(
    network: str | None,
    recipe: str | None,
    epochs: int | None,
    settings: tuple[str, ...],
    tensorboard: bool,
    dry_run: bool,
    **values: Any,
) -> None:
    """Train a network of the task from scratch. The same command resumes an interrupted training."""
    from compress.cli import train_command
    from compress.runs.training_run import Training

    chosen = network_from(values, network)
    options = run_options(values)
    if dry_run:
        train_command.show_size(chosen, options.as_json)
        return
    recipes = list(chosen.recipes)
    if recipe and recipes:
        known(click.get_current_context(), recipe, "recipe", recipes)
    recipe = recipe or next(iter(recipes), "")
    training = Training(
        recipe=recipe, network=chosen, epochs=epochs, settings=settings, tensorboard=tensorboard
    )
    train_command.train(training, options)


for command in file_commands.COMMANDS:
    cli.add_command(command)


@cli.group(
    cls=FileThenStages,
    chain=True,
    params=[
        click.Argument(["file"], type=MODEL_FILE),
        click.Option(["--fix"], type=FILE, help="File (.keras) for a rewritten model that computes the same."),
        click.Option(
            ["--task"], type=TaskName(),
            help="Task to check the stages for; --fix compares on its validation images. If not given: cifar10 for a "
            "model of its images and classes, otherwise your own images; --fix then compares on random images.",
        ),
        DATA,
        *PIXELS,
        click.Option(
            ["--target"], type=click.Choice([MICRO]), help="Also show whether TFLM runs it in int8, and the RAM needed."
        ),
        TRUST,
        JSON,
    ],
    invoke_without_command=True,
)  # fmt: skip
def doctor(**values: Any) -> None:
    """Check before any work what the stages can do with a model FILE.

    For each stage, show which layers it leaves untreated or cannot treat, why, and which rewrite would help. Without
    STAGE, check every stage that takes a Keras model. The exit code is 1 if a stage cannot work, or if --target is
    given and TFLM cannot run the model.

    For instance: compress doctor model.keras prune --pattern 2:4
    """


@doctor.result_callback()
@click.pass_context
def _run_doctor(ctx: click.Context, stages: list[Stage], **values: Any) -> None:
    from compress.cli import doctor_command

    for name in ("data", "input_scale", "mean", "std", "bgr", "resize"):
        if values[name] and not values["task"]:
            flag = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{flag} goes with --task: name the task, or leave {flag} out.")
    options = doctor_command.DoctorOptions(**with_task(values))
    if not doctor_command.doctor(stages or [], options):
        ctx.exit(1)


@cli.command(
    params=[
        RESULTS,
        click.Option(["--out"], type=FILE, help="Folder for the pages; the folder of --results if not given."),
    ]
)  # fmt: skip
def report(results: Path, out: Path | None) -> None:
    """Write the comparison pages again, from the result rows alone."""
    from compress.cli import commands

    commands.report(results, out)


@cli.command(
    params=[
        OUT,
        click.Option(
            ["--prune-older-than"],
            type=Age(),
            help="Delete runs older than this, such as 12h, 30d or 8w.",
        ),
        click.Option(["--yes"], is_flag=True, help="Delete without asking."),
        JSON,
    ]
)
def runs(out: Path, prune_older_than: timedelta | None, yes: bool, as_json: bool) -> None:
    """List the run folders, or delete old ones."""
    from compress.cli import runs_command

    if prune_older_than is None:
        runs_command.show(out, as_json)
    else:
        runs_command.prune(out, prune_older_than, yes, as_json)


cli.add_command(data)
cli.add_command(compare)
cli.add_command(search)


@cli.command(params=[JSON])
def stages(as_json: bool) -> None:
    """List the stages."""
    from compress.cli import commands

    commands.stages(as_json)


@cli.command()
def tasks() -> None:
    """List the tasks."""
    from compress.cli import console

    for name in registry.task_names():
        console.say(f"{name}  {(type(registry.task(name)).__doc__ or '').strip().splitlines()[0]}")


@cli.command(params=[JSON])
def zoo(as_json: bool) -> None:
    """List the installed trained models, which other commands take as zoo:NAME."""
    from compress.cli import zoo_command

    zoo_command.show(as_json)


def main() -> None:
    """The console script."""
    from compress.cli import streams

    streams.prepare()
    cli(prog_name="compress")
