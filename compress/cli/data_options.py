"""The words of `compress data`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compress.cli.options import DATA, JSON, RESULTS, TASK

CHECK = click.Option(["--check"], is_flag=True, help="Look for what leaks from split to split.")


@click.command(params=[TASK, DATA, CHECK, RESULTS, JSON])
@click.pass_context
def data(ctx: click.Context, data: Path | None, **values: Any) -> None:
    """Show the splits of the data; --check looks for leaks between them.

    It names how many images have a near-duplicate in another split, and whether validation and test accuracy agree, of
    published models and of runs measured on both. Exit code 1 if the same image lies in two splits.
    """
    from compress.cli import data_command

    if not data_command.show(data=data, **values):
        ctx.exit(1)
