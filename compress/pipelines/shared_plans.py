"""Shared plans: several processes share the pipelines of a file, and each pipeline runs once.

The processes share a folder. The process that runs a pipeline holds its lock, and loses the lock when it ends. The
pipeline of a lost process is then free for another process, which resumes it from the last whole epoch.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from compress.files import digest, empty, open_lock, write_json
from compress.measurement import predictions
from compress.pipelines.toml_file import Outcome, PlannedRun, Starts, outcome_of
from compress.rows.jsonl import append_to, read_from
from compress.rows.result import Result
from compress.runs.folder import LOCK, RunFolder
from compress.training.progress import Progress, Row

JOBS = "jobs"  # the folder that holds these folders, beside the run folders
POLL = 0.5  # seconds between two checks for a free pipeline


class SharedPlans:
    """The pipelines of a file and the folder in which processes share them."""

    def __init__(self, plans: Sequence[PlannedRun], out: Path, name: str, words: Sequence[str]):
        """
        Args:
          name: the name of the file, for people.
          words: the words of the command. The same words and pipelines give the same folder.
        """
        parts = [[p.name, str(p.model), p.seed, p.pipeline.label] for p in plans]
        self.plans = plans
        self.folder = out / JOBS / f"{name}-{digest({'plans': parts, 'words': list(words)})[:12]}"

    @contextlib.contextmanager
    def driven(self, progress: Progress) -> Iterator[None]:
        """Empty the folder at the start. The same command in another process waits until the block ends."""
        with RunFolder(self.folder).lock(progress.note):
            empty(self.folder, but=LOCK)
            yield

    def work(self, starts: Starts, driver: int) -> None:
        """Run pipelines that no other process is running, until all are done.

        Args:
          driver: the process that this one works for; this one ends when the driver ends.

        Raises:
          ValueError: the folder is missing, for instance because the file of pipelines was changed.
          KeyboardInterrupt: the driver has ended.
        """
        if not self.folder.is_dir():
            raise ValueError("the file of --pipeline was changed since the command began.")
        starts = {
            model: (keras, replace(context, progress=WhileDriven(context.progress, driver)))
            for model, (keras, context) in starts.items()
        }
        while waiting := [n for n in range(len(self.plans)) if not self._path(n, "json").exists()]:
            check_driven(driver)
            if not self._run_one(waiting, starts):
                time.sleep(POLL)

    def outcome(self, number: int, results: Path) -> Outcome | None:
        """The outcome of a pipeline; None if it has not ended. Append its rows that `results` lacks to that file."""
        path = self._path(number, "json")
        if not path.exists():
            return None
        found = json.loads(path.read_bytes())
        own, known = (read_from(f) if f.exists() else [] for f in (self._rows(number), results))
        for row in own:
            if row not in known:
                file, kept = (
                    predictions.file_beside(f, row) for f in (results, self._rows(number))
                )
                if file and kept:
                    predictions.read(kept, row).write(file)
                append_to(results, row)
        rows = [Result.from_record(row) for row in found["rows"]]
        return Outcome(self.plans[number], rows, found["error"], tuple(found["traceback"]))

    def _run_one(self, waiting: Sequence[int], starts: Starts) -> bool:
        """Run one of these pipelines, if one is free; preferably one that shares no stage with the running ones."""
        at_work, alike = set[tuple[str, int, str]](), list[int]()
        for number in waiting:
            if self._begins_with(number) in at_work:
                alike.append(number)
            elif self._run(number, starts):
                return True
            else:
                at_work.add(self._begins_with(number))
        return any(self._run(number, starts) for number in alike)

    def _run(self, number: int, starts: Starts) -> bool:
        """Run a pipeline, unless another process is running it or has finished it."""
        planned = self.plans[number]
        model, context = starts[planned.model]
        with self._claim(number) as is_ours:
            if not is_ours or self._path(number, "json").exists():
                return False
            # Rows stay here: only the driver writes to the file of all rows.
            own = replace(context, results=self._rows(number))
            outcome = outcome_of(planned, {planned.model: (model, own)})
            record = outcome.record() | {"traceback": outcome.traceback}
            write_json(self._path(number, "json"), record)
        return True

    @contextlib.contextmanager
    def _claim(self, number: int) -> Iterator[bool]:
        with open_lock(self._path(number, "lock")) as lock:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                yield False
            else:
                yield True

    def _begins_with(self, number: int) -> tuple[str, int, str]:
        planned = self.plans[number]
        return str(planned.model), planned.seed, " ".join(planned.pipeline.stages[0].argv())

    def _rows(self, number: int) -> Path:
        return self._path(number, "jsonl")

    def _path(self, number: int, suffix: str) -> Path:
        return self.folder / f"pipeline-{number + 1}.{suffix}"


class WhileDriven:
    """Progress that ends a training, within one step, after the driver process has ended."""

    def __init__(self, shown: Progress, driver: int) -> None:
        self.shown, self.driver = shown, driver

    def begin(self, title: str, epochs: int, steps: int, batch_size: int, done: int) -> None:
        """See `Progress`. Raises KeyboardInterrupt."""
        check_driven(self.driver)
        self.shown.begin(title, epochs, steps, batch_size, done)

    def step(self, step: int, loss: float, accuracy: float) -> None:
        """See `Progress`. Raises KeyboardInterrupt."""
        check_driven(self.driver)
        self.shown.step(step, loss, accuracy)

    def epoch(self, row: Row) -> None:
        """See `Progress`."""
        self.shown.epoch(row)

    def note(self, sentence: str) -> None:
        """See `Progress`."""
        self.shown.note(sentence)


def check_driven(driver: int) -> None:
    """Raise KeyboardInterrupt, as Ctrl-C does, if the driver process has ended."""
    if os.getppid() != driver:
        raise KeyboardInterrupt
