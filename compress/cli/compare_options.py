"""The words of `compress compare`."""

from __future__ import annotations

from typing import Any

import click

from compress.cli.options import DATA, FILE, JSON, PIXELS, RESULTS, TASK, TRUST


@click.command(
    params=[
        click.Argument(["first"]), click.Argument(["second"]),
        click.Option(
            ["--html"], type=FILE, help="Write a page to this file too; with the data at hand, also the images of the "
            "surest errors that one alone makes.",
        ),
        click.Option(["--latency"], is_flag=True, help="Time the two files in turn too; the machine must be quiet."),
        TASK, DATA, *PIXELS, RESULTS, TRUST, JSON,
    ]
)  # fmt: skip
def compare(**values: Any) -> None:
    """Hold one model against another on the same images.

    FIRST and SECOND are model files, models of the zoo such as zoo:baseline, run folders, or rows of --results, named
    by label or by run. Files are measured on the test images; rows are as they were measured.

    For instance: compress compare 'prune --sparsity 0.5' 'quantize --scheme int8'
    """
    from compress.cli import compare_command

    compare_command.compare(**values)
