"""The baseline CNN: 118,258 parameters at width 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import click
import numpy as np

from baselines.cifar10.recipes import RECIPES
from compress import backend
from compress.tasks.network import MAX_WIDTH, Network
from compress.training.recipe import Recipe
from compress.typed_options import option

FILTERS = (24, 48, 68)
UNITS = 120
CLASSES = 10
# Dropout rates after blocks one, two and three, and after the first Dense.
DROPOUT = (0.3, 0.35, 0.4, 0.4)
BUDGET = 122_000  # parameters; the limit that the original project set


@dataclass(frozen=True, kw_only=True)
class Plain(Network):
    """Three blocks of Conv - BatchNormalization - ReLU - Conv - ReLU, then a head of two Dense layers."""

    name: ClassVar = "plain"
    width: float = option(
        1.0, click.FloatRange(0, MAX_WIDTH, min_open=True), "Filters relative to the full model."
    )

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        """The recipes of the baseline."""
        return RECIPES

    def build(self, images: np.ndarray | None = None, *, dropout: float = 1.0) -> Any:
        """See `build`."""
        return build(self.width, dropout)


def build(width: float = 1.0, dropout: float = 1.0) -> Any:
    """Three blocks of Conv - BatchNormalization - ReLU - Conv - ReLU, then a head of two Dense layers.

    Args:
      width: multiplies every number of filters and the Dense units, rounded, at least 1.
      dropout: multiplies the dropout rates; 0 turns dropout off.

    Returns:
      a Keras 3 model, float32 [b, 32, 32, 3] in [0, 1] -> logits float32 [b, 10].
    """
    if not 0 < width <= 8:
        raise ValueError(f"width: {width} is not in the range 0<x<=8.")
    layers = backend.keras().layers
    x = image = layers.Input((32, 32, 3), name="image")
    for block, filters in enumerate(FILTERS, start=1):
        scaled = max(1, round(width * filters))
        # BatchNormalization directly follows its convolution, so that it can be folded into it.
        x = layers.Conv2D(scaled, 3, padding="same", name=f"conv{block}a")(x)
        x = layers.BatchNormalization(name=f"norm{block}")(x)
        x = layers.ReLU(name=f"relu{block}a")(x)
        x = layers.Conv2D(scaled, 3, padding="same", name=f"conv{block}b")(x)
        x = layers.ReLU(name=f"relu{block}b")(x)
        if block < len(FILTERS):
            x = layers.MaxPooling2D(name=f"pool{block}")(x)
        x = layers.Dropout(dropout * DROPOUT[block - 1], name=f"dropout{block}")(x)
    x = layers.GlobalAveragePooling2D(name="pool3")(x)
    x = layers.Dense(max(1, round(width * UNITS)), activation="relu", name="dense")(x)
    x = layers.Dropout(dropout * DROPOUT[3], name="dropout4")(x)
    logits = layers.Dense(CLASSES, name="logits")(x)
    return backend.keras().Model(image, logits, name="baseline")
