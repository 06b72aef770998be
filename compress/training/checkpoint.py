"""Checkpoint: everything that the next epoch depends on, in one file that is replaced atomically after every epoch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress.data import npz
from compress.files import replacing, write_bytes
from compress.training.progress import History, Row

LOG = "log.csv"  # a row for each epoch


class DamagedCheckpoint(ValueError):
    """A checkpoint that cannot be read. Nothing in it is used."""


class Checkpoint:
    """Weights, optimizer, averages, best weights and history of a model in training. `folder` None saves nothing."""

    def __init__(
        self, model: Any, folder: Path | None, key: str, averages: Sequence[Any] = ()
    ) -> None:
        self.model, self.key, self.folder, self.averages = model, key, folder, averages
        self.history: History = []
        self.best: list[np.ndarray] = []
        self.validated: list[np.ndarray] = []  # weights at the epoch's validation

    def _live(self) -> list[Any]:
        return [*self.model.variables, *self.model.optimizer.variables, *self.averages]

    def restore(self) -> None:
        """Restore the last saved epoch, if it was saved with the same key, and rewrite its log.

        Raises:
          DamagedCheckpoint: the file cannot be read. Nothing was changed.
        """
        path = self.folder / "checkpoint.npz" if self.folder else None
        if path is None or not path.exists():
            return
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                meta = json.loads(str(file["meta"]))
                if meta["key"] != self.key:
                    return
                history = meta["history"]
                best = [file[f"best{i}"] for i in range(meta["best"])]
                live = [file[f"live{i}"] for i in range(len(self._live()))]
                for arrays, variables in ((best, self.model.variables), (live, self._live())):
                    _check_shapes(arrays, variables)
        except (OSError, *npz.DAMAGED, *npz.NO_HEADER) as error:
            raise DamagedCheckpoint(f"{path} is damaged ({error})") from error
        self.history, self.best = history, best
        assign(self._live(), live)
        self._write_log(path.parent)  # the log may lag behind the checkpoint, or be damaged

    def see_validation(self) -> None:
        """Remember the current weights. They are the weight averages if averages are validated."""
        self.validated = [np.array(v) for v in self.model.variables]

    def save(self, row: Row) -> None:
        """Add an epoch's row to the history, and save everything."""
        self.history.append(row)
        # Among epochs with equal accuracy, the first is the best.
        if row["validation_accuracy"] > max(
            (r["validation_accuracy"] for r in self.history[:-1]), default=-1.0
        ):
            self.best = self.validated
        if self.folder is None:
            return
        meta = {"key": self.key, "history": self.history, "best": len(self.best)}
        arrays = {f"live{i}": np.array(v) for i, v in enumerate(self._live())}
        arrays |= {f"best{i}": v for i, v in enumerate(self.best)}
        with replacing(self.folder / "checkpoint.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, meta=np.array(json.dumps(meta)), **arrays)  # type: ignore[arg-type]
        self._write_log(self.folder)

    def _write_log(self, folder: Path) -> None:
        rows = [self.history[0], *(row.values() for row in self.history)]
        content = "".join(",".join(map(str, row)) + "\n" for row in rows)
        write_bytes(folder / LOG, content.encode())


def _check_shapes(arrays: Sequence[np.ndarray], variables: Sequence[Any]) -> None:
    # Not strict: before the first epoch there are no best weights.
    for array, variable in zip(arrays, variables, strict=False):
        if array.shape != tuple(variable.shape):
            raise ValueError(f"an array is {array.shape}, expected {tuple(variable.shape)}")


def assign(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    """Give each variable its value."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def rows_logged(log: Path) -> History:
    """The rows of a log up to the first incomplete or damaged row; empty without a log. Links are not read."""
    if log.is_symlink() or not log.is_file():
        return []
    # Text after the last line end is an incomplete row.
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    rows: History = []
    for line in lines[1:]:
        try:
            rows.append(dict(zip(lines[0].split(","), map(float, line.split(",")), strict=True)))
        except ValueError:
            break
    return rows


def epochs_logged(folder: Path) -> int:
    """The number of epochs in the log of this folder; 0 without a log."""
    return len(rows_logged(folder / LOG))


def accuracies_logged(log: Path) -> list[float] | None:
    """Validation accuracy, from 0 to 1, after each epoch of a log; None if the log has none."""
    rows = rows_logged(log)
    return [row["validation_accuracy"] for row in rows if "validation_accuracy" in row] or None


def seconds_logged(folder: Path) -> float:
    """Total seconds of all epochs in the log of this folder; 0 without a log."""
    return sum(row.get("seconds", 0.0) for row in rows_logged(folder / LOG))
