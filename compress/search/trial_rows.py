"""Rows of trials: one a run, in the folder of the search. Only the process that drives the search writes them."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import TYPE_CHECKING

from compress.files import open_lock
from compress.runs.context import append_row
from compress.runs.folder import RunFolder
from compress.search.standing import as_found, kind

if TYPE_CHECKING:
    from optuna import Study

FILE = "trials.jsonl"
LOCK = ".trials.lock"


class TrialRows:
    """The file of rows of a search's trials, measured on validation. Rows are added from run folders, each once."""

    def __init__(self, folder: Path, out: Path) -> None:
        """
        Args:
          folder: of the search.
          out: folder of the run folders.
        """
        self.path, self._lock, self._out = folder / FILE, folder / LOCK, out
        self._read, self._runs = (
            0,
            set[str](),
        )  # bytes read so far, and the runs of the rows in them

    def add(self, study: Study) -> None:
        """Add the rows of finished trials that are missing. Another process that does so is waited for."""
        with open_lock(self._lock) as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            self._see()
            for trial in study.get_trials(deepcopy=False):
                if kind(trial) != "finished":
                    continue
                facts = as_found(trial).facts
                run_folder = RunFolder(self._out / str(facts["folder"]))
                if facts["run"] in self._runs or not run_folder.path.is_dir():
                    continue  # deleted meanwhile
                finished = run_folder.load()
                if finished and "validation" in finished.rows:
                    append_row(self.path, run_folder, finished.rows["validation"])
                    self._runs.add(str(facts["run"]))

    def _see(self) -> None:
        """Read what was written since the last time."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                self._runs.add(str(json.loads(line)["run"]))
                self._read += len(line)
