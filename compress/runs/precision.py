"""The precision that a command trains in: the requested one, or the one that is faster on this machine.

Both precisions are timed once for a network, optimizer, batch size, processor and version of the libraries, and only
before a long training. The result is cached in the folder of runs, so that the same command is the same run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from compress.keras_models.model import KerasModel
from compress.runs import provenance
from compress.runs.keys import KeyContext, trained_by_keras
from compress.runs.timings import Timings, Training
from compress.stage import Stage
from compress.tasks.network import Network
from compress.training.precision import Precision
from compress.training.recipe import Recipe

if TYPE_CHECKING:
    from compress.runs.context import RunContext
    from compress.runs.options import RunOptions

PROCESSOR_FLAGS = {"avx512_bf16", "amx_bf16"}  # without one of them, bfloat16 is slower
# Timing both takes about 15 seconds. A training on fewer pixels is too short for that: it takes less than about two
# minutes, at 1,000 images of 32x32 a second.
MIN_PIXELS = 120 * 1_000 * 32 * 32


def of_pipeline(stages: Sequence[Stage], incoming: str, keys: KeyContext) -> Training | None:
    """The longest training with Keras 3 in a pipeline; None if there is none.

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
    """The precision of a training; None if it is not known without timing. No large library is imported.

    Args:
      train_pixels: number of pixels of all training images, each image counted once.
    """
    if asked.precision != "auto":
        return asked.precision
    if asked.deterministic or training is None or training.epochs * train_pixels < MIN_PIXELS:
        return "float32"
    if "backend" in asked.decided:
        return "float32"  # a later command that measures the run must derive the same key
    remembered = Timings(asked.out).of_run(training.run)
    able = PROCESSOR_FLAGS & provenance.processor_flags()
    return remembered or (None if able else "float32")


def decided(keys: KeyContext, precision: Precision) -> KeyContext:
    """The keys of runs that train in a precision. The keys of float32 do not contain the precision."""
    choice = {} if precision == "float32" else {"precision": precision}
    return replace(keys, decided={**keys.decided, **choice})


def requested(context: RunContext) -> RunContext:
    """The context with the precision that the user requested decided. "auto" stays undecided."""
    if context.precision == "auto":
        return context
    return replace(context, decided=decided(context.keys, context.precision).decided)


def settled(
    context: RunContext, training: Training | None, network: Callable[[], KerasModel]
) -> RunContext:
    """The context with its precision decided. Both precisions are timed if necessary.

    Args:
      network: returns the network that the training trains.
    """
    precision = known(context, training, context.data.train.pixels)
    if precision is None and training is not None:
        precision = Timings(context.out).decide(training, network(), context)
    return replace(context, decided=decided(context.keys, precision or "float32").decided)
