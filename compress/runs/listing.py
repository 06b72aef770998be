"""List run folders with their content and state, and delete old ones."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from compress.rows.result import Result
from compress.runs.folder import RunFolder

NAME = re.compile(r"(?P<label>.+)-(?P<digest>[0-9a-f]{12})")


@dataclass(frozen=True)
class Run:
    """A run folder, described from its files alone."""

    folder: Path
    label: str
    # "finished"; "trained": not measured yet; "unfinished"; "in use"; "unreadable": damaged, or of another version.
    state: str
    epochs: int | None  # epochs finished so far; None if the run is trained
    size_bytes: int
    time: datetime  # when the row was made; for an unfinished run, when a file was last written
    result: Result | None

    def record(self) -> dict[str, Any]:
        """The run as a JSON object."""
        row = self.result
        return {
            "folder": str(self.folder),
            "label": self.label,
            "task": row and row.task,
            "data": row and row.data,
            "seed": row and row.seed,
            "time": self.time.isoformat(timespec="seconds"),
            "top1": row and row.top1,
            "size_bytes": self.size_bytes,
            "state": self.state,
            "epochs": self.epochs,
        }


def run_folders(out: Path) -> list[Run]:
    """The run folders in `out`, the oldest first. Other entries and links are ignored."""
    if not out.is_dir():
        raise FileNotFoundError(
            f"no folder {out}; expected one with run folders: name it with --out."
        )
    runs = [_run(folder) for folder in sorted(out.iterdir()) if _is_run(folder)]
    return sorted(runs, key=lambda run: run.time)


def older(runs: Sequence[Run], age: timedelta, now: datetime) -> list[Run]:
    """The runs that are older than `age` and not in use."""
    return [run for run in runs if run.state != "in use" and now - run.time > age]


def delete(run: Run) -> None:
    """Delete a run folder and its content. The targets of links in it stay.

    Raises:
      ValueError: a process now uses the folder, or it is no longer a run folder.
    """
    if not _is_run(run.folder):
        raise ValueError(f"{run.folder} is no longer a run folder, so it is not deleted.")
    folder = RunFolder(run.folder)
    with folder.lock():
        folder.delete()


def _is_run(folder: Path) -> bool:
    """True if a run made this folder, judged by its name, its lock, and its manifest or file names; false for links."""
    named = NAME.fullmatch(folder.name)
    if not named or folder.is_symlink() or not folder.is_dir():
        return False
    if not RunFolder(folder).has_lock():
        return False
    row = _row(folder)
    if row is not None:
        return row.run.startswith(named["digest"])
    return RunFolder(folder).has_only_run_files()


def _run(folder: Path) -> Run:
    row = _row(folder)
    state = _state(folder, row)
    files = list(_files(folder))
    written = max((file.st_mtime for file in files), default=0.0)
    named = NAME.fullmatch(folder.name)
    return Run(
        folder=folder,
        label=row.label if row else named["label"] if named else folder.name,
        state=state,
        epochs=None if row or state == "trained" else RunFolder(folder).epochs_so_far(),
        size_bytes=sum(file.st_size for file in files),
        time=_when(row) if row else datetime.fromtimestamp(written, UTC),
        result=row,
    )


def _state(folder: Path, row: Result | None) -> str:
    if RunFolder(folder).in_use():
        return "in use"
    if row:
        return "finished"
    if RunFolder(folder).has_manifest():
        return "unreadable"
    return "trained" if RunFolder(folder).is_trained() else "unfinished"


def _row(folder: Path) -> Result | None:
    """The row in the folder's manifest; None if there is no valid manifest."""
    try:
        finished = RunFolder(folder).load_manifest()
        if finished:
            _when(finished.row)
    except (OSError, ValueError):
        return None
    return finished.row if finished else None


def _when(row: Result) -> datetime:
    time = datetime.fromisoformat(row.time)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _files(folder: Path) -> Iterator[os.stat_result]:
    """The status of every file below `folder`; links are not followed."""
    for parent, _, names in os.walk(folder):
        for name in names:
            # A process that works in this folder replaces its files.
            with contextlib.suppress(FileNotFoundError):
                yield (Path(parent) / name).lstat()
