"""The optimizer of a recipe, and its learning-rate schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compress import backend
from compress.training.param_groups import TriangularSchedule, sgd
from compress.training.recipe import Recipe


def plateau_rate(
    losses: Sequence[float], rate: float, factor: float = 0.5, patience: int = 5
) -> float:
    """The learning rate after these validation losses: cut by `factor` after each `patience` epochs without a new best.

    It depends on the losses alone, so that a resumed run needs no state for it. It is never cut below 1e-5.

    >>> plateau_rate([3, 2, 2, 2, 2, 2], rate=1.0, patience=5)
    1.0
    >>> plateau_rate([3, 2, 2, 2, 2, 2, 2], rate=1.0, patience=5)
    0.5
    """
    best, waited = float("inf"), 0
    for loss in losses:
        waited = 0 if loss < best else waited + 1
        best = min(best, loss)
        if waited == patience:
            rate, waited = max(rate * factor, 1e-5), 0
    return rate


def optimizer_of(recipe: Recipe, steps: int, keras: Any) -> Any:
    """The optimizer of a recipe, with its learning rate schedule and weight decay on kernels alone.

    Args:
      steps: number of steps in one epoch.
      keras: the module of the optimizer, Keras 3 or tf_keras.
    """
    if keras is not backend.keras() and (why := why_not_by_tf_keras(recipe)):
        raise ValueError(why)
    rate: Any = recipe.learning_rate
    total = steps * recipe.epochs
    warm = round(recipe.warmup * total)
    if recipe.schedule == "cosine" and warm:
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, total - warm, warmup_target=rate, warmup_steps=warm
        )
    elif recipe.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, total)
    elif recipe.schedule == "triangular":
        triangle = TriangularSchedule(
            peak=rate, start=recipe.start, rise=recipe.warmup, end=recipe.end
        )
        rate = triangle.keras(total)
    if recipe.param_groups:
        return sgd(rate, recipe.momentum, recipe.param_groups, steps)
    settings: dict[str, Any] = {"learning_rate": rate, "weight_decay": recipe.weight_decay or None}
    if recipe.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(momentum=recipe.momentum, nesterov=True, **settings)
    else:
        optimizer = keras.optimizers.Adam(**settings)
    if recipe.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def why_not_by_tf_keras(recipe: Recipe) -> str:
    """The reason why only Keras 3 can train with a recipe; empty if tf_keras can too."""
    if not recipe.param_groups and recipe.schedule != "triangular":
        return ""
    return (
        f"recipe {recipe.summary!r} has parameter groups or a triangular schedule, which only training with "
        "Keras 3 knows: give the stages that train with tf_keras a fine-tuning recipe without them."
    )
