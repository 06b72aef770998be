"""The batches of `fit`: new augmentations each epoch, or views in turn, with the targets of teachers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from compress.training.batches import batches, with_targets
from compress.training.recipe import Recipe
from compress.training.stored_answers import StoredAnswers
from compress.training.training_data import TrainingData
from compress.training.views import View, Views


def epoch_batches(
    data: TrainingData, classes: int, recipe: Recipe, seed: int, done: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless batches, beginning with epoch `done`. With teachers, their targets follow the labels.

    With views, the teachers' answers are stored before this returns. Without views, teachers answer each drawn batch.
    """
    scale, distillation = data.input_scale, data.distillation
    precision = data.answered_in or data.precision
    if recipe.views:
        views = Views(data.shown, classes, recipe, scale, seed)
        if distillation is None:
            return views.batches(done)
        answers = StoredAnswers(
            distillation.teachers, views, data.answers, data.progress, precision
        )
        answers.prepare()

        def targets(view: View, chosen: np.ndarray) -> np.ndarray:
            return distillation.mean_softened(answers.of(view, chosen))

        return views.batches(done, targets)
    drawn = batches(data.shown, classes, recipe, scale, seed, done)
    return with_targets(drawn, distillation.targets(precision)) if distillation else drawn
