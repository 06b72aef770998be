"""The options that commands share, as one value: of which task, from what, where to, and how it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compress.data.dataset import Dataset, Note
from compress.files import digest, sha256
from compress.measured import MeasuredOn
from compress.runs import keys
from compress.runs.digest_index import DigestIndex, KnownData, KnownModel, files_key
from compress.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What a command was asked for, besides its stages or its training. The fields have the names of its options."""

    task: Task
    data: Path | None = None
    input_scale: float | None = None
    seed: int = 0
    deterministic: bool = False
    out: Path = Path("runs")  # for run folders
    results: Path = Path("reports/results.jsonl")  # for rows
    fresh: bool = False  # redo what is finished already
    measured_on: MeasuredOn = "test"
    as_json: bool = False
    model: Path | None = None  # None: the task's baseline
    trust: bool = False
    # What was decided by timing this machine, such as a precision: before the key of a run, of which it is part.
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
