"""Options to run a command in several processes, on this machine or on a Ray cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compress.cli.param_types import Finite

WORKER_OPTIONS: list[click.Option] = [
    click.Option(
        ["--jobs"], type=click.IntRange(1, 1024), default=1, show_default=True, help="Number of parallel processes."
    ),
    click.Option(["--on"], metavar="WHERE", help="Run on Ray: ray for this machine, or ray://HOST:PORT for a cluster."),
    click.Option(
        ["--cpus"], type=click.IntRange(1, 1024), default=1, show_default=True, help="With --on: CPUs per job."
    ),
    click.Option(
        ["--gpus"], type=Finite(0, 64), default=0, show_default=True, help="With --on: GPUs per job."
    ),
    click.Option(["--worker"], type=int, hidden=True),
]  # fmt: skip


def check_together(ctx: click.Context) -> None:
    """Raise click.UsageError if CPUs or GPUs are given without a cluster."""
    if not ctx.params["on"] and (ctx.params["cpus"] != 1 or ctx.params["gpus"] != 0):
        raise click.UsageError(
            "--cpus and --gpus set the share of each job in a Ray cluster: give --on too, or leave them out.",
            ctx,
        )


def taken_out(values: dict[str, Any], pipeline: Path | None) -> dict[str, Any]:
    """Remove these options from the values of `compress run` and return them. UsageError if they do not fit others."""
    ctx = click.get_current_context()
    check_together(ctx)
    taken = {str(option.name): values.pop(str(option.name)) for option in WORKER_OPTIONS}
    if taken["jobs"] > 1 or taken["on"]:
        if not pipeline:
            raise click.UsageError(
                "--jobs and --on distribute the pipelines of a file: give --pipeline, or leave them out.",
                ctx,
            )
        if values["fresh"]:
            raise click.UsageError(
                "--fresh does not go with --jobs or --on: name an empty folder with --out instead.",
                ctx,
            )
    return taken
