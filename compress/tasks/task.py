"""The Task protocol and its splits: stages see train and validation images, only measurement opens the test set."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click
import numpy as np

from compress.data.dataset import Dataset, Note
from compress.tasks.network import MAX_WIDTH, Network
from compress.text import no_such
from compress.typed_options import option

if TYPE_CHECKING:
    from compress.training.recipe import Recipe


class Task(ABC):
    """A problem: its data, how to build a model for it, how to train the model."""

    name: ClassVar[str]
    input_shape: ClassVar[tuple[int, ...]]  # of one example
    # A model sees float32 pixel * input_scale; 1/255 puts raw pixels into [0, 1]. Features are given as they are.
    input_scale: ClassVar[float] = 1 / 255
    # Part of run keys. A subclass may declare its own version and raise it when data, network or training change. The
    # source code identifies a subclass that declares none.
    version: ClassVar[int] = 1

    @abstractmethod
    def load(self, path: Path | None, note: Note) -> Dataset:
        """The data at `path`; None: where the task finds them. `note` gets a line on each choice that is made."""

    @abstractmethod
    def build(self, *, width: float = 1.0, dropout: float = 1.0) -> Any:
        """A new Keras 3 model that gives logits. `width` scales its filters, `dropout` its dropout rates."""

    @property
    @abstractmethod
    def recipes(self) -> Mapping[str, Recipe]:
        """The recipes for training a model of this task from scratch, by name; the first is the default."""

    @property
    @abstractmethod
    def finetuning(self) -> Recipe:
        """The fine-tuning recipe of the stages. They set its epochs and learning rate."""

    @property
    def networks(self) -> Mapping[str, Network]:
        """Networks of this task by name, each with default options. The first is that of `build` and `recipes`."""
        return {BaselineNetwork.name: BaselineNetwork(task=self)}

    def network(self, name: str | None) -> Network:
        """The network with this name; None: the first. ValueError, with the nearest name, if there is none."""
        networks = self.networks
        if name is None:
            return next(iter(networks.values()))
        if name not in networks:
            raise ValueError(f"task {self.name} has {no_such('network', name, list(networks))}")
        return networks[name]

    def with_input_scale(self, scale: float) -> Task:
        """This task for a model that was made for other pixels. The model sees float32 pixel * scale."""
        if isinstance(getattr(type(self), "input_scale", None), property):
            raise ValueError(
                f"task {self.name} computes its input scale: give it a method `with_input_scale`, or leave out "
                "--input-scale."
            )
        task = copy.copy(self)
        object.__setattr__(task, "input_scale", scale)  # set on the instance; a task may be frozen
        return task

    def choices(self) -> Mapping[str, Any]:
        """The choices for this task, besides the path, that decide the result of `load`."""
        return {}

    def baseline_path(self) -> Path | None:
        """The trained baseline that ships with the task, a `.keras` file; None if there is none."""
        return None

    def sources(self, path: Path | None) -> Sequence[Path] | None:
        """The files and folders that `load(path)` depends on, whether or not they exist. Reads none of them.

        None if they are not known, for instance when the data would be downloaded. The data are then loaded to
        identify them.
        """
        return None

    def references(self) -> Sequence[Path]:
        """CSV files of published figures that reports of this task show beside its rows."""
        return ()


@dataclass(frozen=True, kw_only=True)
class BaselineNetwork(Network):
    """The network that a task's `build` gives, trained with the task's recipes."""

    name: ClassVar = "baseline"
    task: Task
    width: float = option(
        1.0, click.FloatRange(0, MAX_WIDTH, min_open=True), "Filters relative to the full model."
    )

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        """The recipes of the task."""
        return self.task.recipes

    def build(self, images: np.ndarray | None = None, *, dropout: float = 1.0) -> Any:
        """See `Task.build`."""
        return self.task.build(width=self.width, dropout=dropout)
