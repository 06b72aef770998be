"""Results of a model on validation images, for each image, so that two models can be compared on the same images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from compress.data.dataset import Split
from compress.keras_models import layers

TINY = 1e-7  # keeps logarithms of probabilities finite


@dataclass(frozen=True)
class Judged:
    """The results of a model on some images."""

    losses: np.ndarray  # float [n]: cross-entropies
    right: np.ndarray  # bool [n]: True where the predicted class is right

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())

    @property
    def cross_entropy(self) -> float:
        return float(self.losses.mean())

    def of(self, chosen: np.ndarray) -> Judged:
        """The results on the images with these indices."""
        return Judged(self.losses[chosen], self.right[chosen])

    def is_worse_than(self, other: Judged) -> bool:
        """True if cross-entropy or accuracy is worse by more than two standard errors of the difference."""
        return _clearly_positive(self.losses - other.losses) or _clearly_positive(
            other.right.astype(float) - self.right
        )


def judged(model: Any, split: Split, input_scale: float) -> Judged:
    """The results of a compiled model of Keras 3 or tf_keras on the images of a split."""
    images = split.images * np.float32(input_scale)
    scores = np.asarray(model.predict(images, batch_size=500, verbose=0), np.float64)
    if layers.gives_probabilities(model):
        logs = np.log(np.maximum(scores, TINY))
    else:
        logs = scores - scores.max(axis=1, keepdims=True)
        logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
    own = logs[np.arange(len(split)), split.labels]
    return Judged(-own, scores.argmax(axis=1) == split.labels)


def _clearly_positive(differences: np.ndarray) -> bool:
    """True if the mean is above zero by more than two standard errors. A mean of NaN counts as above."""
    mean, error = differences.mean(), differences.std() / math.sqrt(len(differences))
    return not mean <= 2 * error
