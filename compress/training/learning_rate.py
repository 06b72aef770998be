"""The learning rate of a training that goes on from trained weights, found by short trials of it."""

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
FIRST = 3  # place in the grid of the rate that is tried first
STEPS = 60  # of a trial, or a tenth of the training if that is less
FEWEST_STEPS = 20  # of a trial, or the whole training if that is less
IMAGES = 1000  # of validation, that trials are judged by
HIGHEST = 0.05  # rate of any training: what long ones of pruned baselines were tuned to
MOST_TIMES = 5.0  # the rate that trials speak for, in a training that is much longer
WARMUP = 0.05  # fraction of the steps in which the rate rises from zero


def with_warmup(recipe: Recipe) -> Recipe:
    """The recipe, with a warm-up if it has a cosine without one."""
    if recipe.schedule == "cosine" and not recipe.warmup:
        return dataclasses.replace(recipe, warmup=WARMUP)
    return recipe


class Trials:
    """Short trainings of a model from its present weights, with the images, loss and teachers of one by `recipe`.

    The rate and the schedule of the recipe play no part in them, except whether it is constant.
    """

    def __init__(
        self, model: Any, recipe: Recipe, data: TrainingData, *, seed: int, keras: Any
    ) -> None:
        # Validation images judge the trials, so that no trial may train on them.
        data = dataclasses.replace(data, train_on="train")
        self.model, self.data, self.seed = model, data, seed
        batch = min(recipe.batch_size, len(data.train))
        total = recipe.epochs * (len(data.train) // batch)
        self.steps = min(total, max(FEWEST_STEPS, min(STEPS, total // 10)))
        self.times = total / self.steps  # as long as a trial is the training
        self.shape = rates(recipe, self.steps)
        # Teachers answer as batches are drawn: to answer whole views would take longer than the trials.
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
        """The learning rate that they speak for. The weights are afterwards as they were, bit for bit.

        Args:
          lengthen: whether a training that is longer than a trial gets a higher rate, see `lengthened`.
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
                # A variable of the optimizer, so that nothing is compiled anew.
                model.optimizer.learning_rate = rate * share
                model.train_on_batch(images, labels)
            return judged(model, shown, self.data.input_scale)

        try:
            rate = highest_harmless(self.before.of(order), trial)
        finally:
            assign(variables, start)
        return lengthened(rate, self.times) if lengthen else rate


def highest_harmless(untrained: Judged, trial: Callable[[float], Judged]) -> float:
    """The highest rate of the grid whose trial is clearly worse than neither no training nor the best trial so far.

    Rates are tried upwards from the middle of the grid until one does harm; if the middle one does, downwards until
    one does none. If all do, it is the lowest of the grid.

    Args:
      trial: what the model says after a trial at a rate.
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
    """The rate of a training `times` as long as a trial in which `rate` did no harm: at most five times it, and 0.05.

    Short trials speak for low rates, since they end before what a higher one disturbs is learnt again.

    >>> lengthened(0.003, 1), lengthened(0.003, 4), lengthened(0.003, 250), lengthened(0.03, 250)
    (0.003, 0.006, 0.015, 0.05)
    """
    return float(f"{min(rate * min(times**0.5, MOST_TIMES), HIGHEST):.2g}")


def rates(recipe: Recipe, steps: int) -> np.ndarray:
    """The rate of each step of a trial, as a fraction of the highest: float [steps].

    It falls to zero on a cosine after a warm-up, whatever the recipe's own shape, unless that is constant.
    """
    if recipe.schedule in ("constant", "plateau"):
        return np.ones(steps)
    warm = max(1, round(WARMUP * steps))
    step = np.arange(steps)
    falling = np.clip((step - warm) / max(1, steps - warm), 0, 1)
    return np.minimum((step + 1) / (warm + 1), (1 + np.cos(np.pi * falling)) / 2)
