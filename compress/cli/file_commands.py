"""Commands about one model file or run: evaluate, inspect, slim, latency, export, verify."""

from __future__ import annotations

from typing import Any

import click

from compress.cli.options import (
    DATA,
    EVALUATE_OPTIONS,
    FILE,
    INSPECT_OPTIONS,
    JSON,
    MODEL_FILE,
    OUT,
    PIXELS,
    RESULTS,
    SLIM_OUT,
    with_task,
)
from compress.cli.param_types import TaskName

MODEL = click.Argument(["file"], type=MODEL_FILE)
SOURCE = click.Argument(["source"])
OF_TASK = click.Option(
    ["--task"], type=TaskName(), help="Task whose data to use; the task of the row if not given."
)


@click.command(params=[MODEL, *EVALUATE_OPTIONS])
def evaluate(**values: Any) -> None:
    """Measure a .keras, .h5 or .tflite FILE on the test images."""
    from compress.cli import commands

    commands.evaluate(**with_task(values), task_name=values["task"])


@click.command(params=[MODEL, *INSPECT_OPTIONS])
def inspect(**values: Any) -> None:
    """Show a model FILE layer by layer: shapes, parameters, MACs, bytes."""
    from compress.cli import inspect_command

    inspect_command.inspect(**values)


@click.command(params=[MODEL, SLIM_OUT, JSON])
def slim(**values: Any) -> None:
    """Write a .tflite file with fewer bytes that computes the same as FILE."""
    from compress.cli import slim_command

    slim_command.slim(**values)


@click.command(
    params=[
        MODEL,
        click.Option(
            ["--against"], type=MODEL_FILE,
            help="File to compare with; the ratio is the time of FILE divided by the time of this file."
        ),
        click.Option(
            ["--rounds"], type=click.IntRange(1, 10_000), default=30, show_default=True,
            help="Number of rounds; both files run in each round.",
        ),
        click.Option(
            ["--inputs"], type=click.IntRange(1, 1_000_000), default=200, show_default=True,
            help="Number of inputs per file in each round.",
        ),
        click.Option(
            ["--results"], type=FILE, help="File to append a row to, such as reports/latency.jsonl."
        ),
        JSON,
    ]
)  # fmt: skip
def latency(**values: Any) -> None:
    """Time a .tflite FILE on this processor, preferably against another file."""
    from compress.cli import latency_command

    latency_command.latency(**values)


@click.command(
    params=[
        SOURCE,
        click.Option(["--to"], type=FILE, required=True, help="Folder to write; it must not exist yet."),
        click.Option(["--name"], help="Name of the files and of the model in C; that of the model file if not given."),
        click.Option(
            ["--examples"], type=click.IntRange(1, 1000), default=4, show_default=True,
            help="Number of golden examples: inputs with the outputs that TFLM computes.",
        ),
        OF_TASK, DATA, *PIXELS, OUT, JSON,
    ]
)  # fmt: skip
def export(**values: Any) -> None:
    """Write a folder for firmware: the file, C sources, golden examples, a model card.

    SOURCE is a .tflite file, zoo:NAME, a run folder, or the first digits of a run's key.
    """
    from compress.cli import handover_command

    handover_command.export(**values)


@click.command(params=[SOURCE, OF_TASK, DATA, *PIXELS, OUT, RESULTS, JSON])
def verify(**values: Any) -> None:
    """Repeat the measurements of a row on its kept file, and show what is equal.

    SOURCE is a run folder, the first digits of a run's key, zoo:NAME, or a folder that `compress export` wrote.
    """
    from compress.cli import handover_command

    handover_command.verify(**values)


COMMANDS: tuple[click.Command, ...] = (evaluate, inspect, slim, latency, export, verify)
