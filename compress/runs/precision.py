"""Which precision a command trains in: the one asked for, or the one found faster when both were timed on this machine.

Both are timed once for a network, batch size, processor and version of the libraries, and only before a training that
is long. What was found is kept in the folder of runs, so that the same words stay the same run.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from compress.files import digest, open_lock, write_json
from compress.input_file import regular
from compress.keras_models.model import KerasModel
from compress.runs import provenance
from compress.runs.keys import KeyContext, trained_by_keras
from compress.stage import Stage
from compress.tasks.network import Network
from compress.training.precision import speedup
from compress.training.recipe import Recipe
from compress.training.training_data import Precision

if TYPE_CHECKING:
    from compress.runs.context import RunContext
    from compress.runs.options import RunOptions

Choice = Literal["auto", "float32", "bfloat16"]
NAME = ".precision.json"
LOCK = ".precision.lock"
PROCESSOR_FLAGS = {"avx512_bf16", "amx_bf16"}  # without one of them bfloat16 is slower
CLEARLY_FASTER = 1.15
# Timing both takes some 15 seconds. A training that sees fewer pixels is not worth that: about two minutes, at 1,000
# images of 32x32 a second.
MIN_PIXELS = 120 * 1_000 * 32 * 32
MAX_RUNS = 2_000  # that are remembered; the oldest go first


@dataclass(frozen=True, kw_only=True)
class Training:
    """The longest training of a run, as far as it is known before any work."""

    run: str  # key of the run in float32
    epochs: int
    recipe: Recipe  # for the batch size and the optimizer
    stages: tuple[Stage, ...] = ()  # up to the one that trains


def of_pipeline(stages: Sequence[Stage], incoming: str, keys: KeyContext) -> Training | None:
    """The longest training by Keras 3 of a pipeline; None if it has none.

    Args:
      incoming: digest of the model that the pipeline starts from.
    """
    epochs = [getattr(s, "epochs", 0) if trained_by_keras([s]) else 0 for s in stages]
    if not any(epochs):
        return None
    until = tuple(stages[: epochs.index(max(epochs)) + 1])
    run = replace(keys, decided={}).of_pipeline(stages, incoming)
    return Training(run=run, epochs=max(epochs), recipe=keys.task.finetuning, stages=until)


def of_training(recipe: Recipe, network: Network, keys: KeyContext) -> Training:
    """A training from scratch."""
    run = replace(keys, decided={}).of_training(recipe, network)
    return Training(run=run, epochs=recipe.epochs, recipe=recipe)


def known(
    asked: RunOptions | RunContext, training: Training | None, train_pixels: int
) -> Precision | None:
    """The precision of a training, if it is known without timing anything; nothing heavy is imported.

    Args:
      train_pixels: of all training images together, each counted once.
    """
    if asked.precision != "auto":
        return asked.precision
    if asked.deterministic or training is None or training.epochs * train_pixels < MIN_PIXELS:
        return "float32"
    remembered = Timings(asked.out).of_run(training.run)
    able = PROCESSOR_FLAGS & provenance.processor_flags()
    return remembered or (None if able else "float32")


def decided(keys: KeyContext, precision: Precision) -> KeyContext:
    """The keys of runs that train in a precision; those of float32 are as if it had never been asked about."""
    choice = {} if precision == "float32" else {"precision": precision}
    return replace(keys, decided={**keys.decided, **choice})


def settled(
    context: RunContext, training: Training | None, network: Callable[[], KerasModel]
) -> RunContext:
    """The context with its precision decided, after both were timed if that is necessary.

    Args:
      network: gives the network that the training trains.
    """
    precision = known(context, training, context.data.train.pixels)
    if precision is None and training is not None:
        precision = Timings(context.out).decide(training, network(), context)
    return replace(context, decided=decided(context.keys, precision or "float32").decided)


class Timings:
    """A JSON file in the folder of runs: what was decided for each network, and which run trains which network."""

    def __init__(self, out: Path) -> None:
        self.path, self.lock = out / NAME, out / LOCK

    def of_run(self, run: str) -> Precision | None:
        """What was decided for a run; None if nothing was, or it cannot be read."""
        networks, runs = self._read()
        return _precision(networks.get(runs.get(run)))

    def decide(self, training: Training, network: KerasModel, context: RunContext) -> Precision:
        """What was decided for the network, or else what timing it now says. Another process that asks waits."""
        key = _key(network, training.recipe)
        with open_lock(self.lock) as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            networks, runs = self._read()
            if _precision(networks.get(key)) is None:
                networks[key] = _timed(network, training.recipe, context)
            runs.pop(training.run, None)
            runs = {**dict(list(runs.items())[1 - MAX_RUNS :]), training.run: key}
            write_json(self.path, {"networks": networks, "runs": runs})
        return _precision(networks[key]) or "float32"

    def _read(self) -> tuple[dict[Any, Any], dict[Any, Any]]:
        """Network -> what was decided for it, and run -> network; empty if they cannot be read."""
        try:
            content = {} if self.path.is_symlink() else json.loads(regular(self.path).read_bytes())
            return dict(content["networks"]), dict(content["runs"])
        except (OSError, KeyError, TypeError, ValueError, RecursionError):
            return {}, {}


def _precision(entry: Any) -> Precision | None:
    value = entry.get("precision") if isinstance(entry, dict) else None
    return value if value in ("float32", "bfloat16") else None


def _key(network: KerasModel, recipe: Recipe) -> str:
    return digest(
        {
            "architecture": network.architecture_digest,
            "batch_size": recipe.batch_size,
            "optimizer": recipe.optimizer,
            "processor": [provenance.machine(), sorted(provenance.processor_flags())],
            "libraries": {name: provenance.version_of(name) for name in ("tensorflow", "keras")},
        }
    )


def _timed(network: KerasModel, recipe: Recipe, context: RunContext) -> dict[str, Any]:
    note = context.progress.note
    note("precision: timing some steps of this network in float32 and in bfloat16, once")
    gain = speedup(network, recipe, context.view(None).training_data())
    precision = "bfloat16" if gain >= CLEARLY_FASTER else "float32"
    note(f"precision: {precision}; bfloat16 trains {gain:.2f} times as fast as float32 here")
    return {"precision": precision, "speedup": gain, "machine": provenance.machine()}
