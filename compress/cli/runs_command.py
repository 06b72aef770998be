"""`compress runs`: list the run folders, or delete old ones after asking."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from compress.cli import console
from compress.runs.listing import Run, delete, older, run_folders


def show(out: Path, as_json: bool) -> None:
    """List the run folders in `out`, the oldest first."""
    runs = run_folders(out)
    if as_json:
        console.say_json([run.record() for run in runs])
        return
    console.print_records([_table_row(run) for run in runs])
    console.say(f"{_count_and_size(runs)} in {out}.")


def prune(out: Path, age: timedelta, yes: bool, as_json: bool) -> None:
    """Delete the run folders in `out` that are older than `age`, except those in use by a process.

    Raises:
      ValueError: standard input is not a terminal, so nobody can confirm, and `yes` is False.
    """
    runs = run_folders(out)
    doomed = older(runs, age, datetime.now(UTC))
    busy = [run for run in runs if run.state == "in use"]
    for run in doomed:
        console.tell(f"{run.folder}  {run.size_bytes:,} bytes, {run.state}")
    if doomed and not yes:
        if not sys.stdin.isatty():
            raise ValueError(
                f"{_count_and_size(doomed)} would be deleted, and there is no terminal to confirm it: add --yes."
            )
        click.confirm(f"Delete {_count_and_size(doomed)}?", abort=True, err=True)
    for run in doomed:
        delete(run)
    if as_json:
        record = {
            "deleted": [run.record() for run in doomed],
            "in_use": [str(r.folder) for r in busy],
        }
        console.say_json(record)
        return
    stayed = f" {_count_and_size(busy)} kept: in use by another process." if busy else ""
    console.say(f"Deleted {_count_and_size(doomed)}.{stayed}")


def _count_and_size(runs: Sequence[Run]) -> str:
    folders = "1 run folder" if len(runs) == 1 else f"{len(runs):,} run folders"
    return f"{folders}, {sum(run.size_bytes for run in runs):,} bytes"


def _table_row(run: Run) -> dict[str, Any]:
    row = run.result
    return {
        "run": run.label,
        "task": row.task if row else "",
        "data": row.data if row else "",
        "seed": row.seed if row else "",
        "when": f"{run.time.astimezone():%Y-%m-%d %H:%M}",
        "top-1": f"{row.top1:.2%}" if row else "",
        "bytes": run.size_bytes,
        "state": run.state if run.epochs is None else f"{run.state}, {run.epochs} epochs done",
        "folder": run.folder.name,
    }
