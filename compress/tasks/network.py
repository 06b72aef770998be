"""Network: an architecture of a task with typed options, how to build it, and its recipes for training from scratch."""

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

    The names of options become flags of `compress train`, so they must differ from the command's own flags.
    """

    name: ClassVar[str]  # its key in `Task.networks`
    # Identifies the network's code in run keys if its own class declares it. Raise it when the result of `build`
    # changes. The first network of a task uses the version of the task instead.
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        typed_options.check(self)

    @property
    @abstractmethod
    def recipes(self) -> Mapping[str, Recipe]:
        """The recipes for training this network from scratch, by name; the first is the default."""

    @abstractmethod
    def build(self, images: np.ndarray | None = None, *, dropout: float = 1.0) -> Any:
        """A new Keras 3 model that gives logits.

        Args:
          images: training images, uint8 [n, h, w, c], for initial weights that depend on them. None: only the
            architecture is needed, and the model is not trained.
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
        """As `with_options`, from texts NAME=VALUE. Only a repeatable option may be given several times."""
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
        """The names of the options of this network."""
        return [field.name for field in typed_options.fields(self)]

    def changed_options(self) -> dict[str, Any]:
        """The options that are not at their defaults, as JSON. Only these are in the key of a run."""
        return typed_options.changed(self)

    def words(self) -> list[str]:
        """The command-line words that set the options that are not at their defaults."""
        return [
            word
            for field in typed_options.fields(self)
            if (value := getattr(self, field.name)) != field.default
            for word in typed_options.words(field, value)
        ]

    def parameters(self) -> list[click.Parameter]:
        """The click options of this network, in the order declared."""
        return typed_options.parameters(self)
