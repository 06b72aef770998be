"""Compare the outputs of two models on images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from compress.data.dataset import Dataset
from compress.keras_models.input_scale import takes_raw_pixels
from compress.keras_models.model import KerasModel
from compress.tasks import images as image_task
from compress.tasks.task import Task

IMAGES = 256
BATCH = 64
TOLERANCE = 1e-4  # relative to the largest output, or to 1 if that output is smaller


@dataclass(frozen=True)
class Equivalence:
    """The largest difference between the outputs of two models, and the allowed difference."""

    images: str  # description of the images
    largest_difference: float  # NaN if an output is NaN
    largest_output: float
    allowed: float

    @property
    def holds(self) -> bool:
        """True if the models compute the same, except for rounding."""
        return self.largest_difference <= self.allowed

    def __str__(self) -> str:
        return (
            f"the largest difference of outputs on {self.images} is {self.largest_difference:.1e}, of outputs up to "
            f"{self.largest_output:.1e}; allowed is {self.allowed:.1e}"
        )


@dataclass(frozen=True, eq=False)
class Images:
    """Images as a model sees them, float32 [n, h, w, c], and a description of them."""

    values: np.ndarray
    called: str


def compared(before: KerasModel, after: KerasModel, images: Images) -> Equivalence:
    """Compare the outputs of two models of the same shapes on the same images."""
    ours, theirs = _outputs(before.keras, images.values), _outputs(after.keras, images.values)
    largest = float(np.abs(ours).max())
    difference = float(np.abs(ours - theirs).max())
    return Equivalence(images.called, difference, largest, TOLERANCE * max(1.0, largest))


def random_images(model: KerasModel) -> Images:
    """Images of uniform noise in the pixel range of the model: 0 to 255, or 0 to 1."""
    top = 255 if takes_raw_pixels(model.keras) else 1
    values = np.random.default_rng(0).uniform(0, top, (IMAGES, *model.input_shape))
    return Images(values.astype(np.float32), f"{IMAGES} random images of numbers from 0 to {top}")


def task_images(model: KerasModel, task: Task, data: Dataset, input_scale: float | None) -> Images:
    """Validation images of a task that the model fits."""
    images = data.validation.images[:IMAGES]
    task, found = image_task.suited(task, data, model, input_scale)
    called = f"{len(images)} validation images of {data.name}"
    called += f" ({found[0].rstrip('.')})" if found else ""
    return Images(images * np.float32(task.input_scale), called)


def _outputs(model: Any, images: np.ndarray) -> np.ndarray:
    starts = range(0, len(images), BATCH)
    return np.concatenate([np.array(model(images[s : s + BATCH], training=False)) for s in starts])
