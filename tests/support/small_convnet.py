"""A convolutional network of three layers on images of 6x6x2, as Keras model and as TFLite file."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from support.tflite_examples import Layer, export, functional

SCALE = 1 / 255
CLASSES = 3
SHAPE = (6, 6, 2)
IMAGES = np.random.default_rng(0).integers(0, 256, (40, *SHAPE), dtype=np.uint8)
CONV: Layer = ("Conv2D", {"filters": 4, "kernel_size": 3, "padding": "same"})
HEAD: tuple[Layer, ...] = (("ReLU", {}), ("Flatten", {}), ("Dense", {"units": CLASSES}))


@functools.cache
def model() -> Any:
    """The model. Tests must not change it."""
    return functional(SHAPE, CONV, *HEAD)


@functools.cache
def content() -> bytes:
    """The float32 TFLite file of the model."""
    return export(model())
