"""A task that takes seconds: generated images and a tiny CNN, for tests, documentation and experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import click
import numpy as np

from compress import backend
from compress.data.dataset import Dataset, Note, Split
from compress.data.splits import split_by_class
from compress.tasks.network import Network
from compress.tasks.task import BaselineNetwork, Task
from compress.training.recipe import Recipe
from compress.typed_options import WholeNumbers, option

CLASSES = ("stripes", "columns", "checks")
IMAGES_PER_CLASS = 200
SIDE = 12

RECIPES = {
    "toy": Recipe(
        summary="Adam on a cosine.", epochs=12, learning_rate=0.01, batch_size=32, schedule="cosine"
    )
}
RESIDUAL_RECIPES = {
    "residual": Recipe(
        summary="SGD on a cosine, averaged weights.", epochs=8, learning_rate=0.1, batch_size=32,
        optimizer="sgd", schedule="cosine", warmup=0.1, weight_average=0.9,
    )
}  # fmt: skip
FINETUNING = Recipe(
    summary="SGD on a cosine.", epochs=1, learning_rate=0.01, batch_size=32,
    optimizer="sgd", schedule="cosine", flip=True, crop=1,
)  # fmt: skip


def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Horizontal stripes, vertical columns and checks of two pixels, in random colors with noise.

    Returns:
      images uint8 [n, 12, 12, 3] and labels int64 [n]; the classes alternate.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(IMAGES_PER_CLASS * len(CLASSES)) % len(CLASSES)
    rows, columns = np.mgrid[:SIDE, :SIDE] // 2 % 2
    patterns = np.stack([rows, columns, rows ^ columns])[labels][..., None]
    dark, light = rng.integers(0, 100, (2, len(labels), 1, 1, 3))
    images = dark + patterns * light + rng.normal(0, 60, (len(labels), SIDE, SIDE, 3))
    return np.clip(images, 0, 255).astype(np.uint8), labels.astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Residual(Network):
    """A strided convolution, then residual blocks of two convolutions. It subtracts the mean of the training pixels."""

    name: ClassVar = "residual"
    version: ClassVar[int] = 1  # raise it when what `build` gives changes
    filters: tuple[int, int] = option(
        (8, 4), WholeNumbers(2, 1, 64), "Filters outside and inside of the blocks."
    )
    blocks: int = option(1, click.IntRange(1, 4), "Blocks.")

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        return RESIDUAL_RECIPES

    def build(self, images: np.ndarray | None = None, *, dropout: float = 1.0) -> Any:
        layers, (outside, inside) = backend.keras().layers, self.filters
        mean = 0.5 if images is None else float(images.mean()) / 255
        image = layers.Input((SIDE, SIDE, 3), name="image")
        x = layers.Rescaling(1.0, -mean, name="centre")(image)
        x = layers.Conv2D(outside, 3, 2, padding="same", activation="relu", name="conv0")(x)
        for block in range(1, self.blocks + 1):
            y = layers.Conv2D(inside, 3, padding="same", use_bias=False, name=f"conv{block}a")(x)
            y = layers.BatchNormalization(momentum=0.9, name=f"norm{block}")(y)
            y = layers.ReLU(name=f"relu{block}")(y)
            y = layers.Conv2D(outside, 3, padding="same", name=f"conv{block}b")(y)
            x = layers.Add(name=f"add{block}")([x, y])
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        return backend.keras().Model(image, layers.Dense(len(CLASSES), name="logits")(x))


class Toy(Task):
    """Distinguish stripes, columns and checks."""

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
    def networks(self) -> Mapping[str, Network]:
        return {network.name: network for network in (BaselineNetwork(task=self), Residual())}

    @property
    def finetuning(self) -> Recipe:
        return FINETUNING

    def baseline_path(self) -> Path | None:
        return Path(__file__).parent / "trained" / "toy.keras"
