"""Recalibrate BatchNormalization: measure means and variances again after the layers before it have changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from compress.keras_models.layers import every_layer, is_batchnorm
from compress.keras_models.model import KerasModel

BATCH = 250  # images


def has_statistics(model: KerasModel) -> bool:
    """True if the model, or a model inside it, has a BatchNormalization."""
    return any(True for _ in _batchnorms(model.keras))


def recalibrated(model: KerasModel, images: np.ndarray, input_scale: float) -> KerasModel:
    """A copy of `model` whose BatchNormalization means and variances are measured on these images.

    Each statistic is a mean over batches, weighted by their number of images. Training with batches of that size tends
    to the same values, except that dropout is off here. Weights do not change.

    Args:
      images: uint8 [n, h, w, c].
      input_scale: the model sees float32 pixel * input_scale.
    """
    result, trial = model.copy(), model.copy()
    for layer in every_layer(trial.keras):
        if hasattr(layer, "rate"):  # a dropout layer
            layer.rate = 0
    norms = list(_batchnorms(trial.keras))
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        for norm in norms:
            norm.momentum = start / (start + len(batch))  # the mean of all batches so far
        trial.keras(batch * np.float32(input_scale), training=True)
    for new, old in zip(_batchnorms(result.keras), norms, strict=True):
        new.set_weights(old.get_weights())
    return result


def _batchnorms(model: Any) -> Iterator[Any]:
    return (layer for layer in every_layer(model) if is_batchnorm(layer))
