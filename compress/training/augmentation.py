"""Augmentation that a model shows to do no harm: which changes of validation images leave its answers as right."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from compress.data.dataset import Split
from compress.keras_models.model import KerasModel
from compress.training.batches import Draws, augmented
from compress.training.precision import compiled_copy
from compress.training.validation import Judged, judged

IMAGES = 2000  # of validation, that are looked at
SHIFT = 8  # images are shifted by up to this part of their shorter side, 4 pixels of 32
# Accuracy that a change of the images may cost: a part of what is wrong on images as they are, within these ends.
# A model that was trained on such images loses some too.
PART_OF_ERRORS, LEAST, MOST = 0.2, 0.01, 0.03
MOST_LOST_OF_A_CLASS = 0.05  # of the images of one class, if it is beyond chance
ERRORS = 3.0  # standard errors that are beyond chance, since there are many classes
FIELDS = ("flip", "crop", "alternating_flip")  # of a recipe; one that is given is not looked for


def harmless_augmentation(
    model: KerasModel, validation: Split, input_scale: float
) -> dict[str, Any]:
    """The fields `flip` and `crop` of a recipe under which `model` answers as rightly as on the images as they are.

    A model that was trained on mirrored and shifted images answers them as it does the others. One that was not may
    lose accuracy on them, and where a mirrored image is of another class, such as a digit, it does.

    Args:
      model: a trained one. If it is right no more often than by guessing, nothing is found.
      input_scale: what pixels are multiplied by.

    Returns:
      {"flip": True} and {"crop": pixels}, together, one or neither. Empty for features without height and width.
    """
    if validation.images.ndim != 4:
        return {}
    rng = np.random.default_rng(0)  # the same for all seeds of a run, so that all augment alike
    chosen = rng.permutation(len(validation))[:IMAGES]
    shown = Split(validation.images[chosen], validation.labels[chosen])
    judge = compiled_copy(model)
    plain = judged(judge, shown, input_scale)
    by_guessing = np.bincount(shown.labels).max() / len(shown)
    if plain.accuracy <= by_guessing + MOST:
        return {}
    crop, still = round(min(shown.images.shape[1:3]) / SHIFT), np.zeros(len(shown), int)
    changes = {
        "flip": (True, Draws(np.ones(len(shown), bool), 0, still, still)),
        "crop": (crop, Draws.of(len(shown), False, crop, rng)),
    }
    found: dict[str, Any] = {}
    for name, (value, draws) in changes.items():
        changed = Split(augmented(shown.images, draws), shown.labels)
        if value and not loses(plain, judged(judge, changed, input_scale), shown.labels):
            found[name] = value
    return found


def loses(plain: Judged, changed: Judged, labels: np.ndarray) -> bool:
    """Whether a change of images costs right answers, of all of them or of one class.

    Args:
      plain, changed: what a model says of the images as they are, and changed.
      labels: int64 [n], of the images.
    """
    lost = plain.right.astype(float) - changed.right
    most = min(MOST, max(LEAST, PART_OF_ERRORS * (1 - plain.accuracy)))
    if lost.mean() > most:
        return True
    for label in np.unique(labels):
        own = lost[labels == label]
        error = own.std() / math.sqrt(len(own))
        if own.mean() > max(MOST_LOST_OF_A_CLASS, ERRORS * error):
            return True
    return False
