"""The Task protocol and the split discipline: stages see train and validation, only measuring opens the test set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from compress.data.dataset import Dataset, Note

if TYPE_CHECKING:
    from compress.training.recipe import Recipe


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
