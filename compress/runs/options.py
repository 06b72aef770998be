"""The options that commands share, as one value: task, data, model, seed, folders and output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compress.data.dataset import Dataset, Note
from compress.files import digest, sha256
from compress.rows.measurement import MeasuredOn
from compress.rows.result import TrainedOn
from compress.runs import keys
from compress.runs.digest_index import DigestIndex, KnownData, KnownModel, files_key
from compress.tasks import input_scale
from compress.tasks.task import Task
from compress.training.precision import PrecisionChoice


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of a command, except its stages or its training. Each field has the name of its option."""

    task: Task
    data: Path | None = None
    input_scale: float | None = None
    seed: int = 0
    deterministic: bool = False
    precision: PrecisionChoice = "auto"
    out: Path = Path("runs")  # for run folders
    results: Path = Path("reports/results.jsonl")  # for rows
    fresh: bool = False  # run finished runs again
    no_measure: bool = False  # save the trained model, and measure it later
    train_on: TrainedOn = "train"  # "train+validation" is for a final model
    measured_on: MeasuredOn = "test"
    micro_accuracy: bool = False  # also measure the accuracy in TFLM's arithmetic
    as_json: bool = False
    model: Path | None = None  # None: the task's baseline
    trust: bool = False
    # Choices made before the run, such as a precision or a backend other than TensorFlow. They are part of its key.
    decided: Mapping[str, Any] = field(default_factory=dict)

    @property
    def index(self) -> DigestIndex:
        return DigestIndex(self.out)

    def data_key(self) -> str | None:
        """The index key for the current data files; None if the task cannot name them, or if they are too many."""
        sources = self.task.sources(self.data)
        parts = [keys.FORMAT, *keys.parts_of(self.task), str(self.data)]
        if choices := self.task.choices():
            parts.append(choices)
        return None if sources is None else files_key(sources, *parts)

    def model_key(self, path: Path, data_key: str) -> str:
        """The index key for a model file: a digest of its content and of everything else that affects its loading."""
        parts = [
            keys.FORMAT,
            input_scale.VERSION,
            data_key,
            self.input_scale,
            self.trust,
            path.suffix,
        ]
        return digest({"model": sha256(path), "parts": parts})

    def load(self, note: Note) -> Dataset:
        """Load the data, and store its digests and notes in the index, unless the data are provisional."""
        before, notes = self.data_key(), list[str]()

        def remember(sentence: str) -> None:
            notes.append(sentence)
            note(sentence)

        data = self.task.load(self.data, remember)
        # If the files changed during loading, the digests may not match them.
        if before is not None and before == self.data_key() and not data.provisional:
            self.index.put(before, KnownData(data.digests, tuple(notes), data.train.pixels))
        return data

    def remember_model(self, path: Path, known: KnownModel) -> None:
        """Store the result of loading a model file in the index."""
        if (data_key := self.data_key()) is not None:
            self.index.put(self.model_key(path, data_key), known)

    def context(self, known: KnownData, input_scale: float) -> keys.KeyContext:
        """The parts of the keys that these runs share."""
        return keys.KeyContext(
            task=self.task,
            input_scale=input_scale,
            data=known.digests,
            seed=self.seed,
            deterministic=self.deterministic,
            train_on=self.train_on,
            decided=self.decided,
        )
