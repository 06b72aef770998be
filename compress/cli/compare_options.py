"""The arguments and options of `compress compare`."""

from __future__ import annotations

from typing import Any

import click

from compress.cli.options import DATA, FILE, JSON, PIXELS, RESULTS, TASK, TRUST


@click.command(
    params=[
        click.Argument(["first"]), click.Argument(["second"]),
        click.Option(
            ["--html"], type=FILE, help="Also write an HTML page to this file; if the data are at hand, with the "
            "images of the most confident errors that only one model makes.",
        ),
        click.Option(["--latency"], is_flag=True, help="Also time the two files in turn; the machine must be idle."),
        TASK, DATA, *PIXELS, RESULTS, TRUST, JSON,
    ]
)  # fmt: skip
def compare(**values: Any) -> None:
    """Compare two models on the same images.

    Each of FIRST and SECOND is a model file, a model of the zoo such as zoo:baseline, a run folder, or a row of
    --results, named by its label or its run. Files are measured on the test images; rows and run folders keep their
    earlier measurements.

    For instance: compress compare 'prune --sparsity 0.5' 'quantize --scheme int8'
    """
    from compress.cli import compare_command

    compare_command.compare(**values)
