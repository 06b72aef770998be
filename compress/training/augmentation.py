"""Augmentation that a model shows to do no harm: changes of validation images that cost almost no accuracy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from compress.data.dataset import Split
from compress.keras_models.model import KerasModel
from compress.training.batches import Draws, augmented
from compress.training.precision import compiled_copy
from compress.training.validation import Judged, judged

IMAGES = 2000  # validation images that are used
SHIFT = 8  # images are shifted by up to 1/8 of their shorter side: 4 pixels of 32
# Accuracy that a change of the images may cost: this part of the error on unchanged images, from LEAST to MOST.
# Even a model that was trained on changed images loses some accuracy on them.
PART_OF_ERRORS, LEAST, MOST = 0.2, 0.01, 0.03
MOST_LOST_OF_A_CLASS = 0.05  # accuracy that one class may lose; a loss within chance is allowed too
ERRORS = 3.0  # up to so many standard errors a loss is chance; 3, because there are many classes
FIELDS = ("flip", "crop", "alternating_flip")  # of a recipe; a given field is not searched for


def harmless_augmentation(
    model: KerasModel, validation: Split, input_scale: float
) -> dict[str, Any]:
    """The fields `flip` and `crop` of a recipe that cost `model` almost no accuracy on validation images.

    A model that was trained on mirrored and shifted images is about as accurate on them. Another model may
    lose accuracy on them. It does lose accuracy if mirroring changes the class, as it does for digits.

    Args:
      model: a trained model. If its accuracy is at most 0.03 above that of guessing, the result is empty.
      input_scale: the factor that pixels are multiplied by.

    Returns:
      {"flip": True} and {"crop": pixels}, together, one or neither. Empty for features without height and width.
    """
    if validation.images.ndim != 4:
        return {}
    rng = np.random.default_rng(0)  # fixed, so that runs with different seeds augment alike
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
    """True if a change of the images costs too much accuracy, over all images or within one class.

    Args:
      plain, changed: results of a model on the unchanged and on the changed images.
      labels: int64 [n], classes of the images.
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
