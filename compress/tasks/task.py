"""The Task protocol and the split discipline: stages see train and validation, only measuring opens the test set."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from compress.training.distillation import Teaching
    from compress.training.fit import History, Progress, Recipe

Note = Callable[[str], None]


@dataclass(frozen=True)
class Split:
    """Labelled images in a fixed order: images uint8 [n, h, w, c], labels int64 [n]."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of images and labels in order."""
        sha = hashlib.sha256(str(self.images.shape).encode())
        sha.update(np.ascontiguousarray(self.images).data)
        sha.update(self.labels.astype("<i8").tobytes())
        return sha.hexdigest()


@dataclass(frozen=True)
class DataDigests:
    """What stands for data where only sameness counts: the name and the SHA-256, in hex, of each split."""

    name: str
    train: str
    validation: str


@dataclass(frozen=True)
class Dataset:
    """The data of a task, split. The test images come only through `open_test`, which only measuring code calls."""

    name: str  # what a row carries: "cifar10", "cifar10-sample"
    classes: tuple[str, ...]
    train: Split
    validation: Split
    open_test: Callable[[], Split] = dataclasses.field(repr=False)

    @property
    def digests(self) -> DataDigests:
        """The name and the digests of train and validation; the test split stays closed."""
        return DataDigests(self.name, self.train.digest, self.validation.digest)


def content_order(images: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """The order of images by a hash of seed, pixels and label: the same whatever order the files held them in.

    Returns:
      int64 [n]: indices that sort.
    """
    rows = np.ascontiguousarray(images).reshape(len(images), -1)
    prefix = f"{seed}:".encode()
    keys = [
        hashlib.sha256(prefix + bytes([int(label) & 255]) + row.tobytes()).digest()
        for row, label in zip(rows, labels, strict=True)
    ]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def split_by_class(
    images: np.ndarray, labels: np.ndarray, validation_fraction: float, seed: int = 0
) -> tuple[Split, Split]:
    """Train and validation splits, each with the classes in the same proportions.

    An image goes to the same side in every copy of the data and in every balanced subset that was drawn from both
    sides alike, because sides are dealt by `content_order`: of each class the first share is validation.
    """
    order = content_order(images, labels, seed)
    in_validation = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        in_validation[of_class[: round(validation_fraction * len(of_class))]] = True
    train, validation = order[~in_validation[order]], order[in_validation[order]]
    return (
        Split(images[train], labels[train].astype(np.int64)),
        Split(images[validation], labels[validation].astype(np.int64)),
    )


class Task(ABC):
    """A problem: its data, how to build a model of it, how to train one."""

    name: ClassVar[str]
    input_shape: ClassVar[tuple[int, int, int]]
    # A model sees float32 pixel * input_scale; 1/255 puts raw pixels into [0, 1].
    input_scale: ClassVar[float] = 1 / 255
    # Of a task of this package, in place of its source; raised when its data, network or training change.
    version: ClassVar[int] = 1

    @abstractmethod
    def load(self, path: Path | None, note: Note) -> Dataset:
        """The data at `path`, or wherever the task finds it; `note` gets one line on what was chosen, if anything."""

    @abstractmethod
    def build(self, *, width: float = 1.0, dropout: float = 1.0) -> Any:
        """A new Keras 3 model giving logits, its filters scaled by `width`, its dropout rates by `dropout`."""

    @property
    @abstractmethod
    def recipes(self) -> Mapping[str, Recipe]:
        """How to train a model of this task from scratch, by name; the first is the default."""

    @property
    @abstractmethod
    def finetuning(self) -> Recipe:
        """How stages train a trained model on; stages set epochs and learning rate."""

    def baseline_path(self) -> Path | None:
        """The trained baseline that ships with the task, a `.keras` file; None if there is none."""
        return None

    def sources(self, path: Path | None) -> Sequence[Path] | None:
        """The files and folders that `load(path)` depends on, there or not; nothing is read and nobody is told.

        None if that cannot be told, as when the data would be downloaded: then they are loaded to know them.
        """
        return None

    def references(self) -> Sequence[Path]:
        """CSV files of published figures that reports of this task are held against."""
        return ()


@dataclass(frozen=True)
class TaskView:
    """A task as a stage sees it: how to build and train, train and validation images. It has no test set."""

    task: Task
    train: Split
    validation: Split
    checkpoints: (
        Path | None
    )  # folder in which `fit` keeps what it needs to go on after a kill; None: nowhere
    progress: Progress
    deterministic: bool = False
    teaching: Teaching | None = None  # what `fit` adds to the loss
    recorded: dict[str, Any] = dataclasses.field(default_factory=dict, compare=False)

    def build(self, *, width: float, seed: int) -> Any:
        """A new model as `fit_anew` trains it, its weights drawn from `seed`. See `Task.build`."""
        from compress import backend
        from compress.training import fit

        fit.set_seed(backend.keras(), seed, self.deterministic)
        return self.task.build(width=width, dropout=self._anew.dropout)

    def taught(self, teaching: Teaching) -> TaskView:
        """The same task, in which `fit` also learns from teachers."""
        return dataclasses.replace(self, teaching=teaching)

    def record(self, name: str, value: Any) -> None:
        """Say what the stage decided while it ran, such as a learning rate; it stands in the row of the run.

        Args:
          value: a number, a text, a bool, None, or lists and dicts of them. Of what is said twice the last holds.
        """
        try:
            plain = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError):
            plain = None
        # JSON would turn a tuple into a list, and a key into a text.
        if not (
            isinstance(name, str) and name and (plain is None) == (value is None) and plain == value
        ):
            raise ValueError(
                f"record({name!r}, {value!r:.40}): expected a name, and a number, a text, a bool, None, or lists and "
                "dicts of them that JSON can hold."
            )
        self.recorded[name] = plain

    def fit(
        self,
        model: Any,
        *,
        epochs: int,
        learning_rate: float,
        seed: int,
        keras: Any = None,
        callbacks: Sequence[Any] = (),
    ) -> History:
        """Train `model` in place with the task's fine-tuning recipe, resumably. See `train.fit`."""
        from compress.training.fit import fit

        recipe = dataclasses.replace(
            self.task.finetuning, epochs=epochs, learning_rate=learning_rate
        )
        return fit(model, recipe, self, seed=seed, keras=keras, callbacks=callbacks)

    def fit_anew(self, model: Any, *, epochs: int, seed: int) -> History:
        """Train a new `model` in place, resumably, by the task's first recipe; by its fine-tuning if it has none."""
        from compress.training.fit import fit

        return fit(model, dataclasses.replace(self._anew, epochs=epochs), self, seed=seed)

    @property
    def _anew(self) -> Recipe:
        return next(iter(self.task.recipes.values()), self.task.finetuning)
