"""Network: an architecture of a task with typed options, how to build it, and the recipes it trains by from scratch."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import click
import numpy as np

from compress import typed_options
from compress.text import no_such

if TYPE_CHECKING:
    from compress.training.recipe import Recipe

MAX_WIDTH = 8  # times the filters of a task's own network


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network(ABC):
    """A network of a task. Subclasses are frozen keyword-only dataclasses whose options are made by `option`.

    Names of options are those of flags of `compress train`, so they must differ from its own.
    """

    name: ClassVar[str]  # its key in `Task.networks`
    # Stands for its code in run keys if its own class declares it. Raise it when what `build` gives changes. The first
    # network of a task counts by the version of the task.
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        typed_options.check(self)

    @property
    @abstractmethod
    def recipes(self) -> Mapping[str, Recipe]:
        """How to train it from scratch, by name; the first is the default."""

    @abstractmethod
    def build(self, images: np.ndarray | None = None, *, dropout: float = 1.0) -> Any:
        """A new Keras 3 model that gives logits.

        Args:
          images: of training, uint8 [n, h, w, c], for first weights that depend on them. None: the model is not for
            training, only its architecture counts.
          dropout: multiplies the architecture's own dropout rates.
        """

    def with_options(self, options: Mapping[str, Any]) -> Network:
        """This network with some options changed. ValueError if it has no such option, or the value is out of range."""
        names = self.option_names()
        for name in options:
            if name not in names:
                raise ValueError(f"network {self.name} has {no_such('option', name, names)}")
        return dataclasses.replace(self, **options)

    def with_words(self, settings: Sequence[str]) -> Network:
        """As `with_options`, from texts NAME=VALUE. Only an option that is repeatable may be there several times."""
        repeated = {f.name for f in typed_options.fields(self) if typed_options.repeatable(f)}
        options: dict[str, Any] = {}
        for setting in settings:
            name, _, word = setting.partition("=")
            if name in repeated:
                options[name] = (*options.get(name, ()), word)
            elif name in options:
                raise ValueError(
                    f"network {self.name}: option '{name}' is given twice; give it once."
                )
            else:
                options[name] = word
        return self.with_options(options)

    def option_names(self) -> list[str]:
        """The names of its options."""
        return [field.name for field in typed_options.fields(self)]

    def changed_options(self) -> dict[str, Any]:
        """The options that are not at their defaults, as JSON; only they are in the key of a run."""
        return typed_options.changed(self)

    def words(self) -> list[str]:
        """The words that set its options where they are not at their defaults."""
        return [
            word
            for field in typed_options.fields(self)
            if (value := getattr(self, field.name)) != field.default
            for word in typed_options.words(field, value)
        ]

    def parameters(self) -> list[click.Parameter]:
        """The click options of this network, in the order declared."""
        return typed_options.parameters(self)
