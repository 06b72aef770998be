"""`compress search`: its options, and which of them go together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from compress.cli.options import FILE, JSON, MODEL, RUN_OPTIONS, TRUST
from compress.cli.param_types import Finite
from compress.cli.worker_options import WORKER_OPTIONS, check_together
from compress.typed_options import Amount

NOT_HERE = ("fresh", "train_on", "measured_on", "micro_accuracy", "as_json")
# Options that may be given to resume a search; all others come from its file.
FOR_RESUME = (
    "resume", "minutes", "trials", "jobs", "on", "cpus", "gpus", "out", "as_json", "worker",
)  # fmt: skip
FOR_STATUS = ("status", "out", "as_json")


SEARCH_OPTIONS: list[click.Parameter] = [
    click.Option(["--max-flash"], type=Amount(), help="Maximum file size, such as 64KB (64,000) or 64KiB (65,536)."),
    click.Option(["--max-arena"], type=Amount(), help="Maximum RAM to run the file with TFLM. Needs tflite-micro."),
    click.Option(["--max-macs"], type=Amount(10**12), help="Maximum multiply-accumulates per image, such as 5M."),
    click.Option(
        ["--minutes"], type=Finite(0, 1_000_000, min_open=True), help="Stop after this many minutes of trials."
    ),
    click.Option(["--trials"], type=click.IntRange(1, 1_000_000), help="Stop after this many trials."),
    click.Option(
        ["--objective", "objectives"], multiple=True,
        type=click.Choice(["top1", "file_bytes", "gzip_bytes", "arena_bytes", "macs"]),
        help="Figure to optimize; top1 if not given. May be repeated, to search for a Pareto front.",
    ),
    click.Option(["--space"], type=FILE, help="TOML file with chains of stages and the ranges of their options."),
    click.Option(["--name"], help="Name of the search; derived from its options if not given."),
    click.Option(["--resume"], metavar="NAME", help="Resume a search; --minutes and --trials change its budget."),
    click.Option(["--status"], metavar="NAME", help="Only show what a search has found so far."),
    *WORKER_OPTIONS,
    click.Option(
        ["--storage"], metavar="URL",
        help="Database of the trials, such as postgresql+psycopg://user@host/name; SQLite in the search folder if not "
        "given.",
    ),
    click.Option(
        ["--lease"], type=Finite(2, 86_400), default=60, show_default=True,
        help="Seconds without a heartbeat after which another process runs the trial of a lost process.",
    ),
]  # fmt: skip
_KEPT = [option for option in RUN_OPTIONS if option.name not in NOT_HERE]


@click.command(params=[*SEARCH_OPTIONS, MODEL, TRUST, *_KEPT, JSON])
@click.pass_context
def search(ctx: click.Context, **values: Any) -> None:
    """Search for the stages and options that make the best file within limits.

    Trials are ordinary runs, measured on validation images. The best trial is measured once on the test images. If the
    search is killed at any moment, the same command resumes it.

    For instance: compress search --max-flash 64KB --max-arena 48KB --minutes 480
    """
    typed = {
        name for name in values if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    if values["status"]:
        _only(typed, FOR_STATUS, "--status", ctx)
    elif values["resume"]:
        _only(typed, FOR_RESUME, "--resume", ctx)
    elif values["minutes"] is None and values["trials"] is None:
        raise click.UsageError("a search needs a budget: give --minutes or --trials.", ctx)
    check_together(ctx)
    from compress.cli import search_command

    out, as_json = Path(values["out"]), bool(values["as_json"])
    if values["status"]:
        search_command.status(values["status"], out, as_json)
    else:
        search_command.search(values, typed)


def _only(typed: set[str], allowed: tuple[str, ...], flag: str, ctx: click.Context) -> None:
    """Raise click.UsageError if an option was given that does not go with `flag`."""
    for option in ctx.command.params:
        if option.name in typed - set(allowed):
            raise click.UsageError(
                f"{flag} takes {option.opts[0]} from the search: leave it out, or begin a new one.",
                ctx,
            )
