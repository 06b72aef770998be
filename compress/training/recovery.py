"""Recovery: a training from trained weights on, at a rate that suits them, which does not end below its beginning."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from compress import backend
from compress.files import digest, write_json
from compress.input_file import regular
from compress.training.checkpoint import assign
from compress.training.divergence import Diverged, far_below, watch
from compress.training.fit import fit
from compress.training.learning_rate import Trials, with_warmup
from compress.training.progress import History
from compress.training.recipe import Recipe
from compress.training.training_data import TrainingData
from compress.training.validation import Judged

VERSION = 3  # of what `fit_recovering` adds to `fit`: raised, it makes saved runs of stages stale
RATE = "learning_rate.json"  # beside the checkpoint: the rate that was decided on
ATTEMPTS = 5  # each at a third of the rate of the one before


@dataclass
class Recovery:
    """The epochs of a training, and what was decided on the way, for the row of its run."""

    history: History = field(default_factory=list)
    recorded: dict[str, Any] = field(default_factory=dict)


def fit_recovering(
    model: Any,
    recipe: Recipe,
    data: TrainingData,
    *,
    seed: int,
    learning_rate: float | None = None,
    untrained: Any = None,
    keras: Any = None,
    callbacks: Sequence[Any] = (),
    lengthen: bool = True,
) -> Recovery:
    """Train `model` in place, as `fit` does, from the weights it has.

    A training that diverges begins again at a third of its learning rate. One that ends with fewer right answers on
    validation images than no training gives is undone: the model then has the weights that it came with.

    Args:
      learning_rate: the highest one, in place of the recipe's. None: it is found, and a recipe without a warm-up
        gets one.
      untrained: the model that no training gives, if it is not `model`, such as one that is pruned at once.
      lengthen: whether a training that is longer than the trials gets a higher rate than they speak for.
    """
    result, note = Recovery(), data.progress.note
    if recipe.epochs == 0:
        return result
    keras = keras or backend.keras()
    if learning_rate is None:
        recipe = with_warmup(recipe)
    start = [np.array(v) for v in model.variables]
    floor_model = model if untrained is None else untrained
    trials = Trials(floor_model, recipe, data, seed=seed, keras=keras)
    floor = trials.before
    note(f"before the first epoch: validation {floor.accuracy:.4f} ({floor.cross_entropy:.4f})")
    decided = _Decided(recipe, learning_rate, data, seed)
    rate = decided.read() or learning_rate
    if rate is None:
        note(f"learning rate: looked for in trials of {trials.steps} steps")
        rate = trials.found_rate(lengthen=lengthen)
        decided.write(rate)
    if learning_rate is None:
        note(f"learning rate: {rate:.2g}, found by short trials")
        result.recorded["learning_rate"] = rate
    for _ in range(ATTEMPTS):
        check = far_below(floor.accuracy, model.output_shape[-1], len(data.validation))
        tried = dataclasses.replace(recipe, learning_rate=rate)
        try:
            result.history = fit(
                model,
                tried,
                data,
                seed=seed,
                keras=keras,
                callbacks=[*callbacks, watch(keras)],
                check=check,
            )
            break
        except Diverged as error:
            assign(model.variables, start)
            rate /= 3
            note(f"the training diverged, {error}: it begins again at learning rate {rate:.2g}")
            decided.write(rate)
            result.recorded["learning_rate"] = rate
    if not result.history or _is_below(result.history, recipe, floor):
        assign(model.variables, start)
        model.compile()
        note("the training ends below no training on validation, so it is undone")
        result.recorded["training_undone"] = True
    return result


def _is_below(history: History, recipe: Recipe, floor: Judged) -> bool:
    """Whether fewer validation images are right after a training than without it."""
    accuracies = [row["validation_accuracy"] for row in history]
    after = max(accuracies) if recipe.keep == "best" else accuracies[-1]
    return round(after * len(floor.right)) < floor.right.sum()


class _Decided:
    """The learning rate that was decided on, in a file beside the checkpoint, so that a resumed run goes on with it."""

    def __init__(
        self, recipe: Recipe, learning_rate: float | None, data: TrainingData, seed: int
    ) -> None:
        self.path = data.checkpoints / RATE if data.checkpoints else None
        self.key = digest(
            {
                "version": VERSION,
                "recipe": recipe.changed_fields(),
                "learning_rate": learning_rate,
                "seed": seed,
                "train": data.train.digest,
                "validation": data.validation.digest,
            }
        )

    def read(self) -> float | None:
        """The rate; None if none was decided, or the file cannot be read."""
        try:
            content = json.loads(regular(self.path).read_bytes()) if self.path else {}
            return float(content["learning_rate"]) if content["key"] == self.key else None
        except (OSError, KeyError, TypeError, ValueError, RecursionError):
            return None

    def write(self, rate: float) -> None:
        if self.path:
            write_json(self.path, {"key": self.key, "learning_rate": rate})
