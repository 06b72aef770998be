"""BatchNormalization statistics taken anew: what the layers before have changed, long averages have not seen yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from compress.keras_models.layers import every_layer, is_batchnorm
from compress.keras_models.model import KerasModel

BATCH = 250  # images


def has_statistics(model: KerasModel) -> bool:
    """Whether the model has a BatchNormalization, also in a model inside it."""
    return any(True for _ in _norms(model.keras))


def recalibrated(model: KerasModel, images: np.ndarray, input_scale: float) -> KerasModel:
    """A copy whose BatchNormalization layers have the mean and variance of what they get from these images.

    Each is the mean over batches, by their number of images, as training in batches of that size would have it in the
    long run, but without dropout. Weights are not touched.

    Args:
      images: uint8 [n, h, w, c].
      input_scale: the model sees float32 pixel * input_scale.
    """
    result, trial = model.copy(), model.copy()
    for layer in every_layer(trial.keras):
        if hasattr(layer, "rate"):  # of dropout
            layer.rate = 0
    norms = list(_norms(trial.keras))
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        for norm in norms:
            norm.momentum = start / (start + len(batch))  # the mean of all batches so far
        trial.keras(batch * np.float32(input_scale), training=True)
    for new, old in zip(_norms(result.keras), norms, strict=True):
        new.set_weights(old.get_weights())
    return result


def _norms(model: Any) -> Iterator[Any]:
    return (layer for layer in every_layer(model) if is_batchnorm(layer))
