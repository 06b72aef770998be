"""The Task protocol and the split discipline: stages see train and validation, only measuring opens the test set."""

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
    """A problem: its data, how to build a model of it, how to train one."""

    name: ClassVar[str]
    input_shape: ClassVar[tuple[int, ...]]  # of one example
    # A model sees float32 pixel * input_scale; 1/255 puts raw pixels into [0, 1]. Features are given as they are.
    input_scale: ClassVar[float] = 1 / 255
    # Part of run keys. A subclass that declares its own counts by it, and raises it when data, network or training
    # change; one that declares none counts by its source.
    version: ClassVar[int] = 1

    @abstractmethod
    def load(self, path: Path | None, note: Note) -> Dataset:
        """The data at `path`; with None, where the task finds them. `note` gets a line on any choice made."""

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
        """The recipe by which stages train a trained model further; they set epochs and learning rate."""

    @property
    def networks(self) -> Mapping[str, Network]:
        """Networks of this task by name, each with default options. The first is what `build` and `recipes` give."""
        return {BaselineNetwork.name: BaselineNetwork(task=self)}

    def network(self, name: str | None) -> Network:
        """The network of that name, the first if it is None. ValueError, with the nearest name, if there is none."""
        networks = self.networks
        if name is None:
            return next(iter(networks.values()))
        if name not in networks:
            raise ValueError(f"task {self.name} has {no_such('network', name, list(networks))}")
        return networks[name]

    def with_input_scale(self, scale: float) -> Task:
        """This task, whose models see float32 pixel * scale: for a model that was made for other pixels."""
        if isinstance(getattr(type(self), "input_scale", None), property):
            raise ValueError(
                f"task {self.name} computes its input scale: give it a method `with_input_scale`, or leave out "
                "--input-scale."
            )
        task = copy.copy(self)
        object.__setattr__(task, "input_scale", scale)  # of the instance; a task may be frozen
        return task

    def choices(self) -> Mapping[str, Any]:
        """What was chosen for this task and decides what `load` gives, besides its path."""
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
    """The network that a task's `build` gives, trained by the task's recipes."""

    name: ClassVar = "baseline"
    task: Task
    width: float = option(
        1.0, click.FloatRange(0, MAX_WIDTH, min_open=True), "Filters relative to the full model."
    )

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        """Those of the task."""
        return self.task.recipes

    def build(self, images: np.ndarray | None = None, *, dropout: float = 1.0) -> Any:
        """See `Task.build`."""
        return self.task.build(width=self.width, dropout=dropout)
