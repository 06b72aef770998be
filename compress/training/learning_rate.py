"""Learning-rate search for a training that continues from trained weights: short trials find the rate."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from compress import backend
from compress.data.dataset import Split
from compress.training import losses as loss_terms
from compress.training.checkpoint import assign
from compress.training.epoch_batches import epoch_batches
from compress.training.optimizer import optimizer_of
from compress.training.recipe import Recipe
from compress.training.seeding import seed_dropout, set_seed
from compress.training.training_data import TrainingData
from compress.training.validation import Judged, judged

GRID = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03)
FIRST = 3  # index in the grid of the rate that is tried first
STEPS = 60  # steps of a trial, or a tenth of the training if that is less
FEWEST_STEPS = 20  # fewest steps of a trial, or the whole training if that is less
IMAGES = 1000  # validation images that trials are judged by
HIGHEST = 0.05  # highest rate of any training: the rate that long trainings of pruned baselines were tuned to
MOST_TIMES = 5.0  # highest factor on the rate of the trials, for a training that is much longer
WARMUP = 0.05  # fraction of the steps in which the rate rises from zero


def with_warmup(recipe: Recipe) -> Recipe:
    """The recipe, with a warm-up added if it has a cosine schedule without one."""
    if recipe.schedule == "cosine" and not recipe.warmup:
        return dataclasses.replace(recipe, warmup=WARMUP)
    return recipe


class Trials:
    """Short trainings of a model from its current weights, with the images, loss and teachers of `recipe`'s training.

    They do not use the rate and the schedule of the recipe, but a constant or plateau schedule gives a constant rate.
    """

    def __init__(
        self, model: Any, recipe: Recipe, data: TrainingData, *, seed: int, keras: Any
    ) -> None:
        # Validation images judge the trials, so no trial may train on them.
        data = dataclasses.replace(data, train_on="train")
        self.model, self.data, self.seed = model, data, seed
        batch = min(recipe.batch_size, len(data.train))
        total = recipe.epochs * (len(data.train) // batch)
        self.steps = min(total, max(FEWEST_STEPS, min(STEPS, total // 10)))
        self.times = total / self.steps  # length of the training, in trials
        self.shape = rates(recipe, self.steps)
        # No views: teachers answer each drawn batch. Answers to whole views would take longer than the trials.
        self.recipe = dataclasses.replace(
            recipe, schedule="constant", warmup=0.0, learning_rate=1.0, views=0
        )
        set_seed(keras, seed, data.deterministic)
        seed_dropout(model, seed)
        model.compile(
            optimizer=optimizer_of(self.recipe, self.steps, keras),
            loss=loss_terms.loss(model, recipe, data.distillation, keras),
            metrics=loss_terms.metrics(model, keras),
            jit_compile=False if backend.uses_tensorflow(keras) else "auto",
        )
        self.before = judged(model, data.validation, data.input_scale)

    def found_rate(self, *, lengthen: bool = True) -> float:
        """The learning rate that the trials find. The weights are restored afterwards, bit for bit.

        Args:
          lengthen: if True, a training that is longer than a trial gets a higher rate, see `lengthened`.
        """
        model, validation = self.model, self.data.validation
        model.optimizer.build(model.trainable_variables)
        variables = [*model.variables, *model.optimizer.variables]
        start = [np.array(v) for v in variables]
        order = np.random.default_rng(self.seed).permutation(len(validation))[:IMAGES]
        shown = Split(validation.images[order], validation.labels[order])

        def trial(rate: float) -> Judged:
            assign(variables, start)
            classes = model.output_shape[-1]
            drawn = epoch_batches(self.data, classes, self.recipe, self.seed, 0)
            for (images, labels), share in zip(drawn, self.shape, strict=False):
                # The rate is a variable of the optimizer, so a new value needs no new compilation.
                model.optimizer.learning_rate = rate * share
                model.train_on_batch(images, labels)
            return judged(model, shown, self.data.input_scale)

        try:
            rate = highest_harmless(self.before.of(order), trial)
        finally:
            assign(variables, start)
        return lengthened(rate, self.times) if lengthen else rate


def highest_harmless(untrained: Judged, trial: Callable[[float], Judged]) -> float:
    """The highest harmless rate of the grid: its trial is not clearly worse than the best result so far.

    The best result is first that without training. Rates are tried upward from the middle of the grid until one does
    harm. If the middle rate does harm, rates are tried downward until one is harmless. If none is, the lowest is taken.

    Args:
      trial: returns the model's results after a trial at a rate.
    """
    best = untrained

    def harms(rate: float) -> bool:
        nonlocal best
        after = trial(rate)
        if after.is_worse_than(best):
            return True
        best = min(best, after, key=lambda each: each.cross_entropy)
        return False

    if harms(GRID[FIRST]):
        return next((rate for rate in GRID[:FIRST][::-1] if not harms(rate)), GRID[0])
    chosen = GRID[FIRST]
    for rate in GRID[FIRST + 1 :]:
        if harms(rate):
            break
        chosen = rate
    return chosen


def lengthened(rate: float, times: float) -> float:
    """The rate of a training that is `times` as long as a trial in which `rate` did no harm.

    It is at most five times `rate`, and at most 0.05. Short trials find low rates: they end before the model has
    recovered what a higher rate disturbs.

    >>> lengthened(0.003, 1), lengthened(0.003, 4), lengthened(0.003, 250), lengthened(0.03, 250)
    (0.003, 0.006, 0.015, 0.05)
    """
    return float(f"{min(rate * min(times**0.5, MOST_TIMES), HIGHEST):.2g}")


def rates(recipe: Recipe, steps: int) -> np.ndarray:
    """The rate of each step of a trial, as a fraction of the highest: float [steps].

    It falls to zero on a cosine after a warm-up, but stays constant if the recipe's schedule is constant or plateau.
    """
    if recipe.schedule in ("constant", "plateau"):
        return np.ones(steps)
    warm = max(1, round(WARMUP * steps))
    step = np.arange(steps)
    falling = np.clip((step - warm) / max(1, steps - warm), 0, 1)
    return np.minimum((step + 1) / (warm + 1), (1 + np.cos(np.pi * falling)) / 2)
