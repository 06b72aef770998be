"""The options of `compress data`."""

from __future__ import annotations

from typing import Any

import click

from compress.cli.options import DATA, JSON, PIXELS, RESULTS, TASK, with_task

CHECK = click.Option(["--check"], is_flag=True, help="Look for leaks between the splits.")


@click.command(params=[TASK, DATA, *PIXELS, CHECK, RESULTS, JSON])
@click.pass_context
def data(ctx: click.Context, **values: Any) -> None:
    """Show the splits of the data; --check looks for leaks between them.

    --check counts the images that have a near-duplicate in another split. It also shows whether validation and test
    accuracy agree, for published models and for runs measured on both. The exit code is 1 if --check finds the same
    image in two splits.
    """
    from compress.cli import data_command

    asked = with_task(values) | {"task_name": values["task"]}
    del asked["input_scale"]  # without --mean and --std, the data are the same at every scale
    if not data_command.show(**asked):
        ctx.exit(1)
