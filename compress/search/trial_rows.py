"""Rows of trials: one for each run, in the folder of the search. Only the process that drives the search adds them."""

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
    """The file of rows of a search's trials on validation images. Each row is copied once, from its run folder."""

    def __init__(self, folder: Path, out: Path) -> None:
        """
        Args:
          folder: of the search.
          out: folder of the run folders.
        """
        self.path, self._lock, self._out = folder / FILE, folder / LOCK, out
        # Bytes read so far, and the runs of the rows in them.
        self._read, self._runs = 0, set[str]()

    def add(self, study: Study) -> None:
        """Add the missing rows of finished trials. If another process is adding rows, wait for it."""
        with open_lock(self._lock) as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            self._see()
            for trial in study.get_trials(deepcopy=False):
                if kind(trial) != "finished":
                    continue
                facts = as_found(trial).facts
                run_folder = RunFolder(self._out / str(facts["folder"]))
                if facts["run"] in self._runs or not run_folder.path.is_dir():
                    continue  # the row is there already, or the folder was deleted
                finished = run_folder.load()
                if finished and "validation" in finished.rows:
                    append_row(self.path, run_folder, finished.rows["validation"])
                    self._runs.add(str(facts["run"]))

    def _see(self) -> None:
        """Read the rows written since the last call."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                self._runs.add(str(json.loads(line)["run"]))
                self._read += len(line)
