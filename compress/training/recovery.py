"""Recovery: training from trained weights, with a learning-rate search; a training that loses accuracy is undone."""

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

VERSION = 3  # of what `fit_recovering` adds to `fit`; raising it makes saved runs of stages stale
RATE = "learning_rate.json"  # file beside the checkpoint, with the rate that was chosen
ATTEMPTS = 5  # each uses a third of the learning rate of the one before


@dataclass
class Recovery:
    """The epochs of a training, and the decisions made during it, for the row of its run."""

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
    """Train `model` in place from its current weights, as `fit` does.

    A training that diverges begins again at a third of its learning rate. A training is undone if it ends with fewer
    right answers on validation images than without training: the model then gets its initial weights back.

    Args:
      learning_rate: the highest rate, in place of the recipe's. None: a search finds it, and a cosine schedule without
        a warm-up gets one.
      untrained: the result without training, if it is not `model`, such as a model that is pruned in one step.
      lengthen: if True, a training that is longer than the trials gets a higher rate than the trials find.
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
    rate, failed = decided.read() or (learning_rate, 0)
    if rate is None:
        note(f"learning rate: search in trials of {trials.steps} steps")
        rate = trials.found_rate(lengthen=lengthen)
        decided.write(rate, failed)
    if learning_rate is None or failed:
        how = "lowered after the training diverged" if failed else "found by short trials"
        note(f"learning rate: {rate:.2g}, {how}")
        result.recorded["learning_rate"] = rate
    while failed < ATTEMPTS:
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
            failed += 1
            told = f"the training diverged, {error}"
            if failed < ATTEMPTS:
                rate /= 3
                note(f"{told}: it begins again at learning rate {rate:.2g}")
            else:
                note(f"{told}: it was the last of {ATTEMPTS} attempts")
            decided.write(rate, failed)
            result.recorded["learning_rate"] = rate
    if not result.history or _is_below(result.history, recipe, floor):
        assign(model.variables, start)
        model.compile()
        note("the training ends below the accuracy without training, so it is undone")
        result.recorded["training_undone"] = True
    return result


def _is_below(history: History, recipe: Recipe, floor: Judged) -> bool:
    """True if fewer validation images are right after a training than without it."""
    accuracies = [row["validation_accuracy"] for row in history]
    after = max(accuracies) if recipe.keep == "best" else accuracies[-1]
    return round(after * len(floor.right)) < floor.right.sum()


class _Decided:
    """The learning rate, and how many attempts diverged, in a file beside the checkpoint from which a run resumes."""

    def __init__(
        self, recipe: Recipe, learning_rate: float | None, data: TrainingData, seed: int
    ) -> None:
        self.path = data.checkpoints / RATE if data.checkpoints else None
        self.given = learning_rate
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

    def read(self) -> tuple[float, int] | None:
        """The rate and the number of attempts that diverged.

        None if no rate was chosen for this training, or the file cannot be read.
        """
        try:
            content = json.loads(regular(self.path).read_bytes()) if self.path else {}
            if content["key"] != self.key:
                return None
            # Earlier versions stored no number, and stored a given rate only after they lowered it.
            failed = content.get("failed", self.given is not None)
            return float(content["learning_rate"]), int(failed)
        except (OSError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
            return None

    def write(self, rate: float, failed: int) -> None:
        if self.path:
            content = {"key": self.key, "learning_rate": rate, "failed": failed}
            write_json(self.path, content)
