"""The options of `compress data`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compress.cli.options import DATA, JSON, RESULTS, TASK

CHECK = click.Option(["--check"], is_flag=True, help="Look for leaks between the splits.")


@click.command(params=[TASK, DATA, CHECK, RESULTS, JSON])
@click.pass_context
def data(ctx: click.Context, data: Path | None, **values: Any) -> None:
    """Show the splits of the data; --check looks for leaks between them.

    --check counts the images that have a near-duplicate in another split. It also shows whether validation and test
    accuracy agree, for published models and for runs measured on both. The exit code is 1 if --check finds the same
    image in two splits.
    """
    from compress.cli import data_command

    if not data_command.show(data=data, **values):
        ctx.exit(1)
