"""RunContext: task, data, seed and folders of a command's runs. It also makes the row of a measured model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compress.data.dataset import Dataset, Note
from compress.files import write_json
from compress.keras_models.model import KerasModel
from compress.measurement import chance, predictions
from compress.measurement.measure import digest_of_test, measure
from compress.measurement.predictions import Predictions
from compress.rows.jsonl import append_to, read_from
from compress.rows.measurement import MeasuredOn
from compress.rows.result import Result, TrainedOn
from compress.runs import provenance
from compress.runs.curve import curve_of
from compress.runs.folder import FinishedRun, RunFolder
from compress.runs.keys import KeyContext
from compress.tasks.task import Task
from compress.tasks.view import TaskView
from compress.tflite.model import TFLiteModel
from compress.training.precision import PrecisionChoice
from compress.training.progress import Progress

ANSWERS = "answers"  # folder of the stored outputs of teachers, beside the run folders


@dataclass(frozen=True, kw_only=True)
class Made:
    """The output of a run: the .tflite file, its Keras model if there is one, and the facts for its row."""

    run: str  # the key of the run
    exported: TFLiteModel
    model: KerasModel | None
    pipeline: Sequence[dict[str, Any]]  # specs of the stages
    incoming: str  # digest of the incoming model
    notes: Sequence[str] = ()
    recorded: Mapping[str, Any] = field(default_factory=dict)
    trained_on: TrainedOn = "train"
    seconds: float | None = None  # None: the time from the start of the work to its end
    peak_memory_bytes: int | None = None  # None: the peak of this process
    manifest: Mapping[str, Any] = field(default_factory=dict)  # its entries besides the row


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """The context of a command's runs. A command makes it once, and it does not change."""

    task: Task
    data: Dataset
    seed: int
    out: Path  # folder of the run folders
    results: Path | None  # file that rows are appended to; None: rows stay in the run folders
    progress: Progress
    command: str
    deterministic: bool = False
    precision: PrecisionChoice = "auto"  # of trainings; `precision.settled` decides "auto"
    fresh: bool = False  # run finished runs again
    # Choices made before the run, such as a precision or a backend other than TensorFlow. They are part of its key.
    decided: Mapping[str, Any] = field(default_factory=dict)
    train_on: TrainedOn = "train"  # the split that trainings use
    model_trained_on: TrainedOn = "train"  # for the incoming model, as its files say
    measured_on: MeasuredOn = "test"  # with "validation", the test images are not read
    micro_accuracy: bool = False  # also measure the accuracy in TFLM's arithmetic
    trust: bool = False  # saved models may contain code, because the incoming model may
    # Name of the incoming model's file; None: the model is the task's own, or was trained here.
    model_file: str | None = None
    found: tuple[str, ...] = ()  # sentences about the incoming model, for the notes of rows
    recorded: Mapping[str, Any] = field(default_factory=dict)  # added to what rows record
    remarks: tuple[str, ...] = ()  # sentences for the notes of rows that are measured now

    def __post_init__(self) -> None:
        check_places(self.out, self.results)

    @property
    def keys(self) -> KeyContext:
        """The parts of the key that all runs of this context share."""
        return KeyContext(
            task=self.task,
            input_scale=self.task.input_scale,
            data=self.data.digests,
            seed=self.seed,
            deterministic=self.deterministic,
            train_on=self.train_on,
            decided=self.decided,
        )

    def run(self, folder: RunFolder, label: str, make: Callable[[], Made]) -> FinishedRun:
        """The run in `folder`: reused if it is finished, otherwise made. It has a row measured on `measured_on`."""
        with folder.lock(self.progress.note):
            if self.fresh:
                folder.clear()
            if (finished := folder.load()) is None:
                # The time of the epochs that a killed process finished counts too.
                began = time.monotonic() - folder.seconds_so_far()
                made = make()
                row, predicted = self.row(made, label, time.monotonic() - began)
                row = replace(row, curve=curve_of(folder) if self.train_on == "train" else None)
                finished = folder.save(row, predicted, made.exported, made.model, **made.manifest)
                if self.results is not None:
                    append_row(self.results, folder, row)
                return finished
            if not finished.has(self.measured_on, self.micro_accuracy):
                finished = folder.add(
                    *self._measured_again(finished.row, folder), finished.manifest
                )
            add_kept_row(
                self.results, label, folder, finished.rows[self.measured_on], self.progress.note
            )
            return finished

    def view(self, folder: RunFolder | None) -> TaskView:
        """The task as stages may see it, with its checkpoint in `folder`; without a folder, there is no checkpoint."""
        return TaskView(
            self.task,
            self.data.train,
            self.data.validation,
            folder.checkpoint if folder else None,
            self.progress,
            self.deterministic,
            answers=self.out / ANSWERS,
            precision=self.decided.get("precision", "float32"),
            train_on=self.train_on,
        )

    def row(self, made: Made, label: str, seconds: float) -> tuple[Result, Predictions]:
        """Measure the output of a run on the images of `measured_on`. The test images are read only for "test"."""
        measured, predicted = self._measured(made.exported)
        notes = [*self.found, *made.notes, *self.remarks]
        row = Result(
            **measured,
            run=made.run,
            task=self.task.name,
            data=self.data.name,
            # A class is named after a folder, whose name may have bytes that are not valid text.
            classes=[name.encode(errors="backslashreplace").decode() for name in self.data.classes],
            trained_on=made.trained_on,
            pipeline=list(made.pipeline),
            label=label,
            model=made.incoming,
            model_file=self.model_file,
            params=made.model.params if made.model else None,
            seed=self.seed,
            seconds=round(made.seconds or seconds, 2),
            peak_memory_bytes=made.peak_memory_bytes or provenance.peak_memory_bytes(),
            notes=notes,
            recorded={**self.recorded, **made.recorded},
            **self._provenance(),
        )
        return self._told_if_at_chance(row), predicted

    def _measured_again(self, row: Result, folder: RunFolder) -> tuple[Result, Predictions]:
        """The row of a saved .tflite file, measured on another split of the same data or with more measurements."""
        measured, predicted = self._measured(TFLiteModel.load(folder.model_file("tflite")))
        on_other = chance.sentence_of(row)
        notes = [*(note for note in row.notes if note != on_other), *self.remarks]
        recorded = {k: v for k, v in row.recorded.items() if k != chance.RECORDED}
        row = replace(row, **measured, **self._provenance(), notes=notes, recorded=recorded)
        return self._told_if_at_chance(row), predicted

    def _told_if_at_chance(self, row: Result) -> Result:
        """The row. If it is a baseline at chance level, tell the user, and add a sentence to its notes."""
        guessing = None if row.pipeline else chance.level(row, self.data)
        if guessing is None:
            return row
        sentence = chance.sentence(row, guessing)
        self.progress.note(sentence)
        recorded = {**row.recorded, chance.RECORDED: guessing}
        return replace(row, notes=[*row.notes, sentence], recorded=recorded)

    def _measured(self, exported: TFLiteModel) -> tuple[dict[str, Any], Predictions]:
        """The fields of a row about a file and about the images that the file was measured on; and its predictions."""
        measured, predicted = measure(
            exported,
            self.data,
            self.task.input_scale,
            on=self.measured_on,
            micro_accuracy=self.micro_accuracy,
        )
        splits = {"train": self.data.train.digest, "validation": self.data.validation.digest}
        if self.measured_on == "test":
            splits["test"] = digest_of_test(self.data)
        return asdict(measured) | {"splits": splits, "predictions": predicted.digest}, predicted

    def _provenance(self) -> dict[str, Any]:
        """The provenance of a row: code, command, libraries, machine and time."""
        return {
            "commit": provenance.commit(),
            "command": self.command,
            "versions": provenance.versions(),
            "machine": provenance.machine(),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def check_places(out: Path, results: Path | None) -> None:
    """Raise OSError if a folder is not writable, ValueError if the file of rows is damaged. Called before any work."""
    for folder in (out, *([results.parent] if results else [])):
        try:
            write_json(folder / ".writable", {})
            (folder / ".writable").unlink(missing_ok=True)  # another process may have deleted it
        except OSError as error:
            raise OSError(
                f"cannot write to {folder}: {error.strerror}. Name another folder with --out or --results."
            ) from error
    if results and results.exists():
        read_from(results)  # the report will read every row


def add_kept_row(
    results: Path | None, label: str, folder: RunFolder, row: Result, note: Note
) -> None:
    """Tell `note` that a finished run is reused. Append its row to `results`, if this is a file that lacks the row."""
    note(f"{label}: reused from {folder.path}")
    if sentence := chance.sentence_of(row):
        note(sentence)
    if results and (not results.exists() or row not in read_from(results)):
        append_row(results, folder, row)


def append_row(results: Path, folder: RunFolder, row: Result) -> None:
    """Append the row of a run folder to `results`, after writing its predictions to a file beside `results`."""
    if path := predictions.file_beside(results, row):
        predictions.read(folder.predictions_file(row), row).write(path)
    append_to(results, row)
