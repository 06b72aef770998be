"""The key of a run: a digest of everything that determines its final weights, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from compress import zoo
from compress.data.dataset import DataDigests
from compress.files import digest, sha256
from compress.rows.result import TrainedOn
from compress.runs.code_digest import ENGINE, source_digest
from compress.runs.provenance import version_of
from compress.runs.task_settings import changed_settings
from compress.stage import Stage
from compress.tasks.network import Network
from compress.tasks.task import Task
from compress.tflite import convert
from compress.training import fit, precision, recovery, views
from compress.training.recipe import Recipe

FORMAT = 2  # of keys; a new number makes every finished run stale
TRAINING_LIBRARIES = ("tensorflow", "keras", "numpy")
EXPORT_LIBRARIES = ("tensorflow", "keras")


@dataclass(frozen=True, kw_only=True)
class KeyContext:
    """Everything that determines the weights of a run, except its stages or its recipe.

    A key contains the integer version of the code. For code outside this package that declares no version, it also
    contains a digest of the source. Options and recipes count only where they differ from their defaults, so a new
    option changes no existing key.
    """

    task: Task
    input_scale: float  # of the model
    data: DataDigests
    seed: int
    deterministic: bool = False
    train_on: TrainedOn = "train"
    # Choices made before the run: the precision, by timing this machine, and a Keras backend other than TensorFlow.
    decided: Mapping[str, Any] = field(default_factory=dict)

    def of_pipeline(self, stages: Sequence[Stage], incoming: str) -> str:
        """The key of a run of these stages, in this order.

        Args:
          incoming: digest of the model that the first stage gets.
        """
        parts: dict[str, Any] = {"model": incoming, "stages": [_stage(stage) for stage in stages]}
        if files := [sha256(zoo.file_of(path)) for stage in stages for path in stage.files()]:
            parts["files"] = files
        if any(stage.trains for stage in stages):
            from_scratch = next(iter(self.task.recipes.values()), None)
            parts["training"] = {
                "version": fit.VERSION,
                "recovery": recovery.VERSION,
                "finetuning": self.task.finetuning.changed_fields(),
                "from_scratch": from_scratch and from_scratch.changed_fields(),
            }
            if self.train_on != "train":
                parts["training"]["on"] = self.train_on
            if any(getattr(stage, "views", None) for stage in stages):
                parts["training"]["views"] = views.VERSION
        names = {name for stage in stages for name in stage.networks()}
        if networks := [self.task.network(name) for name in sorted(names)]:
            parts["networks"] = [self._network(network) for network in networks]
        libraries = [name for stage in stages for name in stage.libraries()]
        return self._digest(parts, libraries, self.decided_for(stages))

    def decided_for(self, stages: Sequence[Stage]) -> dict[str, Any]:
        """The part of `decided` that a stage depends on. The run of these stages computes with this part alone.

        tf_keras always trains in float32 on TensorFlow, but its teachers compute in the decided precision.
        """
        if trained_by_keras(stages):
            return dict(self.decided)
        taught = any(stage.trains and _has_teachers(stage) for stage in stages)
        return {k: v for k, v in self.decided.items() if taught and k == "precision"}

    def of_training(self, recipe: Recipe, network: Network) -> str:
        """The key of a training from scratch. The code of the task's first network counts as code of the task."""
        options = network.changed_options()
        training: dict[str, Any] = {
            "version": fit.VERSION,
            "recipe": recipe.changed_fields(),
            "width": options.pop("width", 1.0),
        }
        if self.train_on != "train":
            training["on"] = self.train_on
        if recipe.views:
            training["views"] = views.VERSION
        first = network.name == next(iter(self.task.networks))
        if not first or options:
            code = [] if first else [network.name, *code_of(type(network))]
            training["network"] = [*code, options]
        return self._digest({"training": training}, TRAINING_LIBRARIES, self.decided)

    def _network(self, network: Network) -> list[Any]:
        recipe = next(iter(network.recipes.values()), self.task.finetuning)
        return [network.name, recipe.changed_fields(), *code_of(type(network))]

    def _digest(
        self, parts: Mapping[str, Any], libraries: Iterable[str], decided: Mapping[str, Any]
    ) -> str:
        names = sorted({*libraries, *EXPORT_LIBRARIES})
        if "backend" in decided:
            # On another backend, TensorFlow may be absent and does not compute the weights.
            names.remove("tensorflow")
        context: dict[str, Any] = {
            "key": FORMAT,
            "task": parts_of(self.task),
            "input_scale": self.input_scale,
            "data": [self.data.name, self.data.train, self.data.validation],
            "seed": self.seed,
            "export": convert.EXPORT_VERSION,
            "libraries": {name: version_of(name) for name in names},
        }
        if self.deterministic:
            context["deterministic"] = True
        if decided:
            context["decided"] = dict(decided)
        if "precision" in decided:
            context["precision"] = precision.VERSION
        return digest({**parts, **context})


def trained_by_keras(stages: Iterable[Stage]) -> bool:
    """True if one of the stages trains with Keras 3. Stages whose libraries include tf-keras train with tf-keras."""
    return any(stage.trains and "tf-keras" not in stage.libraries() for stage in stages)


def _has_teachers(stage: Stage) -> bool:
    """True if the options of a stage give it teachers. `prune` may have one without any option, on little data."""
    alpha = getattr(stage, "alpha", None)
    return bool(alpha or (alpha is None and getattr(stage, "teacher", ())))


def code_of(maker: type) -> list[Any]:
    """The parts of a key that identify the code of a stage, task or network class.

    These are the version of the class and, if the class is outside this package and only inherits that version, a
    digest of its source: its author may not raise the version.
    """
    ours = maker.__module__.split(".")[0] == ENGINE
    version: int = maker.version  # type: ignore[attr-defined]
    return [version] if ours or "version" in vars(maker) else [version, source_digest(maker)]


def parts_of(task: Task) -> list[Any]:
    """The parts of a key that identify a task: its name, its code and, for a task outside this package, its settings.

    Settings at their defaults do not count.
    """
    ours = type(task).__module__.split(".")[0] == ENGINE
    settings = {} if ours else changed_settings(task)
    return [task.name, *code_of(type(task)), *([settings] if settings else [])]


def _stage(stage: Stage) -> list[Any]:
    return [stage.name, stage.changed_options(), *code_of(type(stage))]
