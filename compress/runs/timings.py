"""Timings: a cache, in the folder of runs, of the faster precision for each network on this machine."""

from __future__ import annotations

import fcntl
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.files import digest, open_lock, write_json
from compress.input_file import regular
from compress.keras_models.model import KerasModel
from compress.runs import provenance
from compress.stage import Stage
from compress.training.precision import Precision
from compress.training.precision_timing import speedup
from compress.training.recipe import Recipe

if TYPE_CHECKING:
    from compress.runs.context import RunContext


NAME = ".precision.json"
LOCK = ".precision.lock"
CLEARLY_FASTER = 1.15
MAX_RUNS = 2_000  # in the cache; the oldest are dropped first


@dataclass(frozen=True, kw_only=True)
class Training:
    """The longest training of a run, as known before any work."""

    run: str  # key of the run in float32
    epochs: int
    recipe: Recipe  # gives the batch size and the optimizer
    stages: tuple[Stage, ...] = ()  # up to and including the one that trains


class Timings:
    """A JSON file in the folder of runs: the precision decided for each network, and the network of each run."""

    def __init__(self, out: Path) -> None:
        self.path, self.lock = out / NAME, out / LOCK

    def of_run(self, run: str) -> Precision | None:
        """The precision decided for a run; None if there is none that can be read."""
        networks, runs = self._read()
        return _precision(networks.get(runs.get(run)))

    def decide(self, training: Training, network: KerasModel, context: RunContext) -> Precision:
        """The precision of the network, from the cache or by timing it now. Other processes wait for the timing."""
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
        """Network -> the decision for it, and run -> network; both empty if the file cannot be read."""
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
