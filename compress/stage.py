"""Stage: a frozen set of options that maps a model to a model.

The whole contract of a stage:

- It is a frozen keyword-only dataclass that derives from `Stage`. Each field is declared once, by `option`. The flag,
  help, range check, JSON form and row label derive from that declaration. `__post_init__` raises ValueError if options
  do not go together.
- `name` is its word on the command line. `takes` and `gives` are the formats of its input and output.
  `keeps_architecture` and `trains` tell what its result depends on. `version` is raised when its arithmetic changes.
- `check(model)` comes before any work and runs without data. It returns a `Finding` for everything that the stage will
  leave untreated, and raises `CannotTreat` if the stage cannot treat the model at all.
- `apply(model, task, seed)` returns a new model and leaves the incoming model unchanged. The same seed gives the same
  weights, and zero weights stay zero. A stage does not print, measure or write files. It gives its decisions during
  the run to `task.record`.
- `outline(model, task)` is for a stage that makes another network: it returns the model to check the next stages with.
- `asked_figure()` and `reaching(...)` are for a stage with a target that only the run can measure. `file_bytes(model)`
  and `why_not_on_micro()` are for a stage that gives a file.
- `broken_promises(kernels)` checks in the exported file whether the stage kept its promises.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import click

from compress import typed_options
from compress.typed_options import option as option

if TYPE_CHECKING:
    import numpy as np

    from compress.findings import Finding
    from compress.keras_models.model import KerasModel
    from compress.tasks.view import TaskView
    from compress.tflite.model import TFLiteModel

Format = Literal["keras", "tflite"]
MAX_EPOCHS = 100_000  # of any training; libraries count steps in 64 bits


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage(ABC):
    """Maps a model to a model. Subclasses are frozen keyword-only dataclasses whose fields are made by `option`."""

    name: ClassVar[str]
    takes: ClassVar[Format] = "keras"
    gives: ClassVar[Format] = "keras"
    keeps_architecture: ClassVar[bool] = True
    outlines_exactly: ClassVar[bool] = True  # False: `apply` may give layers of other sizes
    # Raise it when the arithmetic or a default changes: finished runs of the stage are then not reused.
    version: ClassVar[int] = 1
    trains: ClassVar[bool] = True  # True if its result depends on how the task trains
    needs_tensorflow: ClassVar[bool] = True  # False: `apply` works on Keras's JAX backend too
    needs_micro: ClassVar[bool] = False  # True: TFLM must run the file that the stage takes

    def __post_init__(self) -> None:
        typed_options.check(self)

    @abstractmethod
    def apply(self, model: KerasModel, task: TaskView, seed: int) -> KerasModel | TFLiteModel:
        """A new model in format `gives`. The incoming model is not changed."""

    def check(self, model: KerasModel) -> Sequence[Finding | str]:
        """Return what this stage will leave untreated in `model`, before any work.

        A `Finding` lists the layers that it is about, for other code to read. A plain string lists none.

        Raises:
          CannotTreat: the stage cannot treat `model` at all; its findings say why. Any other ValueError refuses
            the model too, such as one for an option that names a layer that does not exist.
        """
        return []

    def outline(self, model: KerasModel, task: TaskView) -> KerasModel:
        """The model that later stages are checked against before any work: untrained, of the form that `apply` gives.

        A stage that does not keep the architecture builds this model. Its errors then appear before any work.
        """
        return model

    def asked_figure(self) -> str | None:
        """The target option that only the run's machine can measure, such as "latency"; None if none is given."""
        return None

    def reaching(
        self, model: KerasModel, task: TaskView, seed: int, figure: Callable[[KerasModel], float]
    ) -> Stage:
        """The stage with options that reach the asked figure, in place of it. Called before the run's key is made.

        Args:
          figure: measures a model as this stage gives it.
        """
        return self

    def file_bytes(self, model: KerasModel) -> int | None:
        """The maximum size of the file that this stage would make of `model`, found without data and training.

        None if the stage gives no file, or cannot tell the size: the size of the int8 file is then used.
        """
        return None

    def why_not_on_micro(self) -> str:
        """The reason why TFLM runs no file that this stage gives with these options; empty if it may run one."""
        return ""

    def broken_promises(self, kernels: Mapping[str, np.ndarray]) -> list[str]:
        """The promises of this stage that the exported file breaks: one sentence each, naming the tensor.

        Args:
          kernels: layer name -> kernel as stored in the exported file, Keras axis order.
        """
        return []

    def files(self) -> list[str]:
        """The files that options name. Their content is part of the key of a run."""
        fields = [f for f in dataclasses.fields(self) if isinstance(f.metadata["kind"], click.Path)]
        values = [getattr(self, f.name) for f in fields]
        named = [v if isinstance(v, tuple) else (v,) for v in values]
        return [str(path) for paths in named for path in paths if path is not None]

    def networks(self) -> tuple[str, ...]:
        """Networks of the task that options name. Their code and recipes are part of the key of a run."""
        return ()

    def libraries(self) -> tuple[str, ...]:
        """The installed distributions that the stage computes with. Another version of one makes another run."""
        return ("tensorflow", "keras", "numpy")

    def changed_options(self) -> dict[str, Any]:
        """The options that are not at their defaults; only they are in the key of a run."""
        return typed_options.changed(self)

    def spec(self) -> dict[str, Any]:
        """The JSON form: `{"stage": name, option: value, ...}`; `registry.build` turns it back into the stage."""
        return {"stage": self.name} | typed_options.values(self)

    def argv(self) -> list[str]:
        """The command-line words of this stage: its name, its first option, and every option not at its default."""
        words = [self.name]
        for index, field in enumerate(typed_options.own_first(type(self))):
            value = getattr(self, field.name)
            if index == 0 or value != field.default:
                words += typed_options.words(field, value)
        return words

    @classmethod
    def parameters(cls) -> list[click.Parameter]:
        """The click options of this stage: its own in the order declared, then those of the class it derives from."""
        return typed_options.parameters(cls)


def checked(
    stage: Stage, model: KerasModel, task: TaskView
) -> tuple[list[Finding], KerasModel | None]:
    """Check a stage on a model: return its findings, and the model that the stages after it are checked against.

    `compress doctor` and `compress run` both use this check before any work. The model is None after a finished file.

    Raises:
      CannotTreat, or another ValueError: the stage cannot treat the model, or cannot do so with this task.
    """
    from compress.findings import as_findings

    findings = as_findings(stage.check(model))
    after = stage.outline(model, task)
    return findings, after if stage.gives == "keras" else None
