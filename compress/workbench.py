"""Workbench: what every run shares - task, data, seed, folders - and how a measured model becomes a row."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compress import provenance
from compress.keys import KeyContext
from compress.measurement import digest_of_test, measure
from compress.model import KerasModel, TFLiteModel
from compress.result import MeasuredOn, Result, TrainedOn, append_to, read_from
from compress.store import check_own, open_lock, write_json
from compress.task import Dataset, Note, Task, TaskView
from compress.train import Progress

MANIFEST, LOCK = "manifest.json", ".lock"


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """Where a run happens. Made once per command; nothing in it changes."""

    task: Task
    data: Dataset
    seed: int
    out: Path  # run folders go here
    results: Path  # rows are appended here
    progress: Progress
    command: str
    deterministic: bool = False
    fresh: bool = False  # redo what is there already
    # What was decided by timing this machine, such as a precision: before the key of a run, of which it is part.
    decided: Mapping[str, Any] = field(default_factory=dict)
    trust: bool = False  # kept models may hold code, because the one to begin with may

    def __post_init__(self) -> None:
        check_places(self.out, self.results)

    @property
    def keys(self) -> KeyContext:
        """What is in the key of every run here."""
        return KeyContext(
            task=self.task,
            input_scale=self.task.input_scale,
            data=self.data.digests,
            seed=self.seed,
            deterministic=self.deterministic,
            decided=self.decided,
        )

    def reuse(self, label: str, folder: Path, row: Result) -> None:
        """Say that a finished run is taken as it is; a process killed at the end may have left its row to be added."""
        add_kept_row(self.results, label, folder, row, self.progress.note)

    def view(self, folder: Path) -> TaskView:
        """The task as stages may see it, with checkpoints in a run folder."""
        return TaskView(
            self.task,
            self.data.train,
            self.data.validation,
            folder / "checkpoint",
            self.progress,
            self.deterministic,
        )

    def row(
        self,
        exported: TFLiteModel,
        *,
        run: str,
        label: str,
        pipeline: Sequence[dict[str, Any]],
        incoming: str,
        params: int | None,
        seconds: float,
        notes: Sequence[str] = (),
        recorded: Mapping[str, Any] | None = None,
        measured_on: MeasuredOn = "test",
        trained_on: TrainedOn = "train",
    ) -> Result:
        """Measure an exported file on the images of a split and make its row; only "test" opens the test images."""
        measured = measure(exported, self.data, self.task.input_scale, on=measured_on)
        digests = {"train": self.data.train.digest, "validation": self.data.validation.digest}
        if measured_on == "test":
            digests["test"] = digest_of_test(self.data)
        return Result(
            **asdict(measured),
            run=run,
            task=self.task.name,
            data=self.data.name,
            splits=digests,
            trained_on=trained_on,
            pipeline=list(pipeline),
            label=label,
            model=incoming,
            params=params,
            seed=self.seed,
            seconds=round(seconds, 2),
            peak_memory_bytes=provenance.peak_memory_bytes(),
            notes=list(notes),
            recorded=dict(recorded or {}),
            commit=provenance.commit(),
            command=self.command,
            versions=provenance.versions(),
            machine=provenance.machine(),
            time=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def check_places(out: Path, results: Path) -> None:
    """Find out before any work whether results can be kept and reported."""
    for folder in (out, results.parent):
        try:
            write_json(folder / ".writable", {})
            (folder / ".writable").unlink()
        except OSError as error:
            raise OSError(
                f"cannot write to {folder}: {error.strerror}. Name another folder with --out or --results."
            ) from error
    if results.exists():
        read_from(results)  # the report will want every row


def add_kept_row(results: Path, label: str, folder: Path, row: Result, note: Note) -> None:
    """Say that the row of a finished run is reused, and append it where a killed process left it out."""
    note(f"{label}: reused from {folder}")
    if not results.exists() or row not in read_from(results):
        append_to(results, row)


@contextmanager
def claimed(folder: Path, note: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold a run folder for this process. While another is at work in it, wait, and say so to `note`.

    Raises:
      ValueError: another process is at work in it, and there is no `note`.
    """
    path = folder / LOCK
    while True:
        if folder.is_symlink():
            check_own(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with open_lock(path) as lock:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not note:
                    raise ValueError(
                        f"another process is at work in {folder}: wait for it, or use another --out."
                    ) from None
                note(f"waiting for another process that is at work in {folder}")
                fcntl.lockf(lock, fcntl.LOCK_EX)
            # It may have deleted the folder: then this lock keeps nobody out.
            if path.exists() and os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                yield
                return


def finished(folder: Path) -> tuple[Result, dict[str, Any]] | None:
    """The row and the manifest of a finished run, or None if there is none.

    The manifest is written last, so a folder that has one is whole.

    Raises:
      ValueError: it cannot be read, or something in the folder leads out of it.
    """
    check_own(folder)
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        manifest = json.loads(path.read_bytes())
        return Result.from_record(manifest["result"]), manifest
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not the manifest of a finished run ({str(error).rstrip('.')}): delete its folder, and the "
            "same words make it anew."
        ) from error


def keep(
    folder: Path, result: Result, exported: TFLiteModel, model: KerasModel | None, **more: Any
) -> None:
    """Write a run folder's files, the manifest last."""
    if model is not None:
        model.save(folder / "model.keras")
    exported.save(folder / "model.tflite")
    write_json(folder / MANIFEST, {"result": result.record()} | more)
