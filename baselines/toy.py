"""A task that takes seconds: drawn images and a tiny CNN. For tests, documentation and trying things out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from compress import backend
from compress.data.dataset import Dataset, Note, Split
from compress.data.splits import split_by_class
from compress.tasks.task import Task
from compress.training.recipe import Recipe

CLASSES = ("stripes", "columns", "checks")
IMAGES_PER_CLASS = 200
SIDE = 12

RECIPES = {
    "toy": Recipe(
        summary="Adam on a cosine.", epochs=12, learning_rate=0.01, batch_size=32, schedule="cosine"
    )
}
FINETUNING = Recipe(
    summary="SGD on a cosine.", epochs=1, learning_rate=0.01, batch_size=32,
    optimizer="sgd", schedule="cosine", flip=True, crop=1,
)  # fmt: skip


def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Horizontal stripes, vertical columns and checks of two pixels, in random colours under noise.

    Returns:
      images uint8 [n, 12, 12, 3] and labels int64 [n], classes in turn.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(IMAGES_PER_CLASS * len(CLASSES)) % len(CLASSES)
    rows, columns = np.mgrid[:SIDE, :SIDE] // 2 % 2
    patterns = np.stack([rows, columns, rows ^ columns])[labels][..., None]
    dark, light = rng.integers(0, 100, (2, len(labels), 1, 1, 3))
    images = dark + patterns * light + rng.normal(0, 60, (len(labels), SIDE, SIDE, 3))
    return np.clip(images, 0, 255).astype(np.uint8), labels.astype(np.int64)


class Toy(Task):
    """Tell stripes from columns from checks."""

    name: ClassVar = "toy"
    input_shape: ClassVar = (SIDE, SIDE, 3)
    version: ClassVar[int] = 1  # raise it when the images or what `build` gives change

    def load(self, path: Path | None, note: Note) -> Dataset:
        if path is not None:
            raise ValueError("task toy draws its own images: leave out --data.")
        train, validation = split_by_class(*draw(seed=0), 0.25)
        return Dataset("toy", CLASSES, train, validation, lambda: Split(*draw(seed=1)))

    def sources(self, path: Path | None) -> Sequence[Path] | None:
        return () if path is None else None

    def build(self, *, width: float = 1.0, dropout: float = 1.0) -> Any:
        layers = backend.keras().layers
        filters = max(1, round(8 * width))
        x = image = layers.Input(self.input_shape, name="image")
        x = layers.Conv2D(filters, 3, padding="same", name="conv1")(x)
        x = layers.BatchNormalization(momentum=0.9, name="norm1")(x)
        x = layers.ReLU(name="relu1")(x)
        x = layers.MaxPooling2D(name="pool1")(x)
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", name="conv2")(x)
        x = layers.Dropout(dropout * 0.1, name="dropout")(x)
        x = layers.GlobalAveragePooling2D(name="pool2")(x)
        return backend.keras().Model(image, layers.Dense(len(CLASSES), name="logits")(x))

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        return RECIPES

    @property
    def finetuning(self) -> Recipe:
        return FINETUNING

    def baseline_path(self) -> Path | None:
        return Path(__file__).parent / "trained" / "toy.keras"
