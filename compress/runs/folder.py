"""RunFolder: locks, reads and writes the files of a run. No other module knows their names."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.files import check_own, empty, open_lock, write_json
from compress.keras_models.model import KerasModel
from compress.measurement.predictions import Predictions
from compress.rows.measurement import MeasuredOn
from compress.rows.result import Result
from compress.tflite.model import TFLiteModel
from compress.training.checkpoint import epochs_logged, seconds_logged

MANIFEST = "manifest.json"
TRAINED = "trained.json"  # facts about a trained model that is not measured yet
LOCK = ".lock"
CHECKPOINT = "checkpoint"
MODELS = {"keras": "model.keras", "tflite": "model.tflite"}  # format -> file
# Split that a row was measured on -> key of the row in the manifest; below, file of the predictions for its images.
ROWS: dict[MeasuredOn, str] = {"test": "result", "validation": "result_on_validation"}
PREDICTIONS = {
    split: f"{name.replace('result', 'predictions')}.npz" for split, name in ROWS.items()
}
LOG = "log.csv"
TENSORBOARD = "tensorboard"
CURVES = "training_curves"  # a .png file and a .svg file
MAX_MANIFEST_BYTES = 10_000_000
_FILES = "|".join(map(re.escape, (*MODELS.values(), *PREDICTIONS.values(), LOG, MANIFEST, TRAINED)))
_FILES = rf"({_FILES}|{CURVES}\.(png|svg))"
# The names that a run folder may contain, including temporary files of a killed process.
_OWN = re.compile(rf"{re.escape(LOCK)}|{CHECKPOINT}|{TENSORBOARD}|{_FILES}|\.{_FILES}\.\w+(\.\w+)?")


@dataclass(frozen=True)
class FinishedRun:
    """The content of a finished run: one row for each split that it was measured on, and its manifest."""

    rows: Mapping[MeasuredOn, Result]
    manifest: Mapping[str, Any]

    @property
    def row(self) -> Result:
        """The row measured on the test images; without one, the row measured on the validation images."""
        return self.rows.get("test") or self.rows["validation"]

    def has(self, on: MeasuredOn, micro_accuracy: bool) -> bool:
        """True if the run has a row measured on that split, with the accuracy on TFLM if `micro_accuracy` is set."""
        return on in self.rows and not (micro_accuracy and self.rows[on].lacks_micro_accuracy)


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run. Links in it are never followed."""

    path: Path

    @classmethod
    def named(cls, out: Path, name: str) -> RunFolder:
        """The run folder `name` in `out`, or, if it does not exist, the only one there with the same end of its name.

        The name ends in 12 digits of the key. The words before the key are for people: they do not identify the run.
        """
        if not (out / name).exists():
            alike = sorted(out.glob(f"*{name[-13:]}")) if re.search("-[0-9a-f]{12}$", name) else []
            if len(alike) == 1 and alike[0].is_dir() and not alike[0].is_symlink():
                return cls(alike[0])
        return cls(out / name)

    @property
    def checkpoint(self) -> Path:
        """The folder of the checkpoint that a killed training resumes from."""
        return self.path / CHECKPOINT

    @property
    def trained(self) -> Path:
        """The path of the facts about a trained model that is not measured yet."""
        return self.path / TRAINED

    @property
    def log(self) -> Path:
        """The path of the training log, which has a row for each epoch."""
        return self.path / LOG

    @property
    def tensorboard(self) -> Path:
        """The folder of a training's TensorBoard logs."""
        return self.path / TENSORBOARD

    @property
    def curves(self) -> Path:
        """The path of the plot of a training's curves, without the suffix of its format."""
        return self.path / CURVES

    def model_file(self, format: str) -> Path:
        """The path of the model in a format, "keras" or "tflite"."""
        return self.path / MODELS[format]

    def predictions_file(self, row: Result) -> Path:
        """The path of the predictions for every image that `row` was measured on."""
        return self.path / PREDICTIONS[row.measured_on]

    @contextmanager
    def lock(self, note: Callable[[str], None] | None = None) -> Iterator[None]:
        """Lock the folder for this process. If another process holds the lock, call `note` and wait.

        Raises:
          ValueError: another process holds the lock, and `note` is None.
        """
        path = self.path / LOCK
        while True:
            if self.path.is_symlink():
                check_own(self.path)
            self.path.mkdir(parents=True, exist_ok=True)
            with open_lock(path) as lock:
                try:
                    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if not note:
                        raise ValueError(
                            f"another process is at work in {self.path}: wait for it, or use another --out."
                        ) from None
                    note(f"waiting for another process that is at work in {self.path}")
                    fcntl.lockf(lock, fcntl.LOCK_EX)
                # The other process may have deleted the folder; the lock is then on a deleted file.
                if path.exists() and os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                    yield
                    return

    def in_use(self) -> bool:
        """True if another process holds the lock. Nothing is written."""
        # A shared lock, held for a moment: two processes that check at once do not block each other.
        handle = os.open(self.path / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.lockf(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return True
        finally:
            os.close(handle)
        return False

    def load(self) -> FinishedRun | None:
        """The content of a finished run; None if it is not finished. The manifest, written last, marks it finished.

        Raises:
          ValueError: the manifest cannot be read, or a link or pipe in the folder leads out of it.
        """
        check_own(self.path)
        return self.load_manifest()

    def load_manifest(self) -> FinishedRun | None:
        """Load as `load` does, without checking the other files of the folder."""
        path = self.path / MANIFEST
        check_own(path)
        if not path.exists():
            return None
        try:
            if path.stat().st_size > MAX_MANIFEST_BYTES:
                raise ValueError(f"it has more than {MAX_MANIFEST_BYTES:,} bytes")
            manifest = json.loads(path.read_bytes())
            rows: dict[MeasuredOn, Result] = {
                split: Result.from_record(manifest[name])
                for split, name in ROWS.items()
                if name in manifest
            }
            if not rows or any(row.measured_on != split for split, row in rows.items()):
                raise ValueError("it has no row of the split that it names")
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is not the manifest of a finished run ({str(error).rstrip('.')}): delete its folder "
                "and run the same command again."
            ) from error
        return FinishedRun(rows, manifest)

    def save(
        self,
        row: Result,
        predictions: Predictions,
        exported: TFLiteModel,
        model: KerasModel | None,
        **more: Any,
    ) -> FinishedRun:
        """Write the models, the predictions and, last, the manifest with the entries `more`. Delete the checkpoint."""
        if model is not None and not (self.path / TRAINED).exists():  # unless saved already
            model.save(self.model_file("keras"))
        exported.save(self.model_file("tflite"))
        finished = self.add(row, predictions, more)
        (self.path / TRAINED).unlink(missing_ok=True)
        shutil.rmtree(self.checkpoint, ignore_errors=True)
        return finished

    def save_trained(self, model: KerasModel, facts: Mapping[str, Any]) -> None:
        """Write a trained model and, last, the facts for its row. Then delete the checkpoint."""
        model.save(self.model_file("keras"))
        write_json(self.path / TRAINED, facts)
        shutil.rmtree(self.checkpoint, ignore_errors=True)

    def add(
        self, row: Result, predictions: Predictions, manifest: Mapping[str, Any]
    ) -> FinishedRun:
        """Write the predictions of `row`, then the manifest with that row added."""
        predictions.write(self.predictions_file(row))
        whole = {**manifest, ROWS[row.measured_on]: row.record()}
        write_json(self.path / MANIFEST, whole)
        rows = {s: Result.from_record(whole[name]) for s, name in ROWS.items() if name in whole}
        return FinishedRun(rows, whole)

    def has_lock(self) -> bool:
        """True if the folder has the lock file of a run, and not a link in its place."""
        lock = self.path / LOCK
        return lock.is_file() and not lock.is_symlink()

    def is_trained(self) -> bool:
        """True if the folder has a trained model, measured or not."""
        return self.has_manifest() or (self.path / TRAINED).exists()

    def has_manifest(self) -> bool:
        """True if the folder has a manifest, valid or not."""
        return (self.path / MANIFEST).exists()

    def has_only_run_files(self) -> bool:
        """True if every entry of the folder has a name that a run may write."""
        return all(_OWN.fullmatch(path.name) for path in self.path.iterdir())

    def clear(self) -> None:
        """Delete everything in the folder except the lock, so that the run starts again."""
        empty(self.path, but=LOCK)

    def delete(self) -> None:
        """Delete the folder and its content. The targets of links in it stay."""
        # Delete the manifest first: after an interrupted deletion, the rest must not look like a finished run.
        (self.path / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(self.path)

    def epochs_so_far(self) -> int:
        """The number of epochs that a killed process finished; 0 if there are none."""
        return 0 if self.checkpoint.is_symlink() else epochs_logged(self.checkpoint)

    def seconds_so_far(self) -> float:
        """The seconds that the epochs of a killed process took; 0 if it finished none."""
        return seconds_logged(self.checkpoint)
