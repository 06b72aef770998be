"""The same words again: the rows of finished runs, found without opening the data or importing TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compress.data.dataset import Dataset, Note
from compress.files import digest, sha256
from compress.measured import MeasuredOn
from compress.pipelines.pipeline import Pipeline
from compress.result import Result
from compress.runs import keys
from compress.runs.context import add_kept_row
from compress.runs.digest_index import DigestIndex, KnownData, KnownModel, files_key
from compress.runs.folder import Kept, RunFolder
from compress.runs.training_run import Training
from compress.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the words of a command say of a run: on what, from what and where."""

    task: Task
    data: Path | None
    out: Path
    seed: int
    deterministic: bool
    model: Path | None = None  # None: the task's baseline
    input_scale: float | None = None
    trust: bool = False
    measured_on: MeasuredOn = "test"
    decided: Mapping[str, Any] = field(default_factory=dict)

    @property
    def index(self) -> DigestIndex:
        return DigestIndex(self.out)

    def data_key(self) -> str | None:
        """What the state of the data's files is kept under; None if nobody can tell which files they are."""
        sources = self.task.sources(self.data)
        parts = [keys.FORMAT, self.task.name, *keys.code_of(type(self.task)), str(self.data)]
        return None if sources is None else files_key(sources, *parts)

    def model_key(self, path: Path, data_key: str) -> str:
        """What a model file is kept under: its content, and all else that its loading depends on."""
        parts = [keys.FORMAT, data_key, self.input_scale, self.trust, path.suffix]
        return digest({"model": sha256(path), "parts": parts})

    def load(self, note: Note) -> Dataset:
        """Load the data, and remember what they are for the next time."""
        before, notes = self.data_key(), list[str]()

        def heard(sentence: str) -> None:
            notes.append(sentence)
            note(sentence)

        data = self.task.load(self.data, heard)
        # Files that changed while they were read are not what was read.
        if before is not None and before == self.data_key():
            self.index.put(before, KnownData(data.digests, tuple(notes)))
        return data

    def remember_model(self, path: Path, known: KnownModel) -> None:
        """Remember what a model file was found to be."""
        if (data_key := self.data_key()) is not None:
            self.index.put(self.model_key(path, data_key), known)

    def context(self, known: KnownData, input_scale: float) -> keys.KeyContext:
        """What is in the keys of these runs."""
        return keys.KeyContext(
            task=self.task,
            input_scale=input_scale,
            data=known.digests,
            seed=self.seed,
            deterministic=self.deterministic,
            decided=self.decided,
        )


def pipeline_rows(
    pipeline: Pipeline, request: Request, results: Path, note: Note
) -> list[Result] | None:
    """The rows of a pipeline's prefixes, the baseline first; None unless every run is finished and its start known.

    Rows that are missing among `results` are appended.
    """
    path = request.model or request.task.baseline_path()
    key = request.data_key()
    data = request.index.data(key) if key else None
    if path is None or not path.is_file() or key is None or data is None:
        return None
    model = request.index.model(request.model_key(path, key))
    if model is None:
        return None
    context = request.context(data, model.input_scale)
    found = []
    for prefix in pipeline.prefixes():
        run = context.of_pipeline(prefix.stages, model.digest)
        folder = RunFolder(request.out / prefix.folder_name(run))
        kept = folder.load()
        if kept is None or request.measured_on not in kept.rows:
            return None
        found.append((prefix.label, folder, kept.rows[request.measured_on]))
    for sentence in (*data.notes, *model.notes):
        note(sentence)
    for label, folder, row in found:
        add_kept_row(results, label, folder, row, note)
    return [row for _, _, row in found]


def training(
    asked: Training, request: Request, results: Path, note: Note
) -> tuple[Path, Kept] | None:
    """The run folder of a training and what is kept there; None unless it is finished and its data are known."""
    key = request.data_key()
    data = request.index.data(key) if key else None
    if data is None:
        return None
    context = request.context(data, request.task.input_scale)
    run = context.of_training(asked.resolved(request.task), asked.width)
    folder = RunFolder(request.out / asked.folder_name(run))
    kept = folder.load()
    if kept is None or request.measured_on not in kept.rows:
        return None
    for sentence in data.notes:
        note(sentence)
    add_kept_row(results, asked.label, folder, kept.rows[request.measured_on], note)
    return folder.path, kept
