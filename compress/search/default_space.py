"""The default space of a search, for a task: networks, stages, widths, sparsity, bits and epochs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from compress import registry, typed_options
from compress.quantization import int4
from compress.search import space
from compress.search.limits import Limits
from compress.search.space import Space
from compress.stage import Stage
from compress.tasks.task import Task

SOURCE = "the default space"
WIDTH = "width"  # the option of networks that scales their filters
SHORTEST = 8  # the fewest epochs are the stage's default divided by this
# The most epochs are the stage's default times this, 1 if absent. A network that starts from random weights, or that
# loses much at once, keeps improving for longest.
LONGEST = {"distill": 4, "prune-filters": 4}


def default_space(task: Task, limits: Limits, objectives: Collection[str]) -> Space:
    """Chains of stages that make a file smaller, with useful ranges of their options.

    Sparsity is searched only where zeros save something: in the compressed size of a file, and in files for TFLM.
    """
    four = _has_int4()
    micro = limits.arena is not None or "arena_bytes" in objectives
    chains = [f"{shrunk}{stored}" for shrunk in _shrinking(task) for stored in ("quantize", "qat")]
    if micro:
        # TFLM has no 4-bit kernels for Dense layers.
        four_on_micro = "quantize --scheme int4 --target micro"
        chains += [f"{shrunk}{four_on_micro}" for shrunk in _shrinking(task) if four]
        chains += ["prune quantize encode", "prune-filters prune quantize encode"]
    elif "gzip_bytes" in objectives:
        chains += ["prune quantize", "prune qat"]
    # These chains remove just enough filters to reach the limit.
    if limits.arena is not None:
        chains.append(f"prune-filters --arena {limits.arena} quantize")
    if limits.flash is not None:
        chains.append(f"prune-filters --flash {limits.flash} quantize --scheme int8")
        if four and not micro:
            chains.append(f"prune-filters --flash {limits.flash} quantize --scheme int4")
    tables: dict[str, dict[str, Any]] = {
        "prune-filters": {"macs": _table(0.1, 0.9, 0.05), "epochs": _epochs("prune-filters")},
        "distill": {"student_width": _table(0.25, 1.0, 0.05), "epochs": _epochs("distill")},
        "prune": {"sparsity": _table(0.3, 0.9, 0.05), "epochs": _epochs("prune")},
        "qat": {"bits": ["8", "4"] if four else ["8"], "epochs": _epochs("qat")},
        "quantize": {"scheme": ["int8", "int4"] if four and not micro else ["int8"]},
    }
    used = {word for chain in chains for word in chain.split()}
    return space.parsed(
        {space.CHAINS: chains} | {name: t for name, t in tables.items() if name in used}, SOURCE
    )


def _has_int4() -> bool:
    """True if the library that stores 4 bits after training is installed."""
    try:
        int4.check()
    except ValueError:
        return False
    return True


def _shrinking(task: Task) -> Iterator[str]:
    """The stages that make the network smaller, as texts to put before a stage that stores it; the first is empty."""
    yield ""
    yield "prune-filters "
    if not task.recipes:  # the task has no network to train from scratch
        return
    _, *others = task.networks.values()
    yield "distill "
    for network in others:
        # An option that a chain names is fixed, so no width is searched for a network that has no such option.
        width = "" if WIDTH in network.option_names() else " --student-width 0.5"
        yield f"distill --student-network {network.name}{width} "


def _table(low: float, high: float, step: float) -> dict[str, float]:
    return {"low": low, "high": high, "step": step}


def _epochs(name: str) -> dict[str, Any]:
    """A range of epochs around the stage's default."""
    usual = usual_epochs(registry.stage(name)())
    high = usual * LONGEST.get(name, 1)
    return {"low": max(1, usual // SHORTEST), "high": high, "log": True}


def usual_epochs(stage: Stage) -> int:
    """The number of epochs that a stage trains for; 0 if it does not train."""
    if not any(field.name == "epochs" for field in typed_options.fields(stage)):
        return 0
    epochs = getattr(stage, "epochs", None)
    return int(getattr(stage, "most_epochs", 0) if epochs is None else epochs)
