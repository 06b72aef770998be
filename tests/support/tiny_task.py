"""A task of 64 random images, a residual model for it, and pruning on it in one call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from compress import backend
from compress.data.dataset import Dataset, Split
from compress.keras_models.model import KerasModel
from compress.stages.prune import Prune
from compress.tasks.task import Task
from compress.tasks.view import TaskView
from compress.training.recipe import Recipe
from conftest import Silent

IMAGE = (8, 8, 3)


class Tiny(Task):
    """64 random images, four steps an epoch."""

    name: ClassVar = "tiny"
    input_shape: ClassVar = IMAGE

    def load(self, path: Path | None, note: Any) -> Dataset:
        raise NotImplementedError

    def build(self, *, width: float = 1.0, dropout: float = 1.0) -> Any:
        raise NotImplementedError

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        return {}

    @property
    def finetuning(self) -> Recipe:
        return Recipe(
            summary="", epochs=1, learning_rate=1, batch_size=16, optimizer="sgd",
            schedule="cosine", flip=True,
        )  # fmt: skip


def drawn(seed: int) -> Split:
    rng = np.random.default_rng(seed)
    return Split(rng.integers(0, 256, (64, *IMAGE), dtype=np.uint8), np.arange(64) % 3)


def residual() -> KerasModel:
    keras = backend.keras()
    keras.utils.set_random_seed(0)
    k = keras.layers
    image = k.Input(IMAGE, name="image")
    x = k.ReLU()(
        k.BatchNormalization(name="norm")(k.Conv2D(8, 3, padding="same", name="first")(image))
    )
    x = k.Add()([x, k.DepthwiseConv2D(3, padding="same", name="depthwise")(x)])
    x = k.Add()(
        [x, k.SeparableConv2D(8, 3, padding="same", activation="relu", name="separable")(x)]
    )
    x = k.Dropout(0.2)(k.Flatten()(k.MaxPooling2D(4)(x)))
    return KerasModel(keras.Model(image, k.Dense(3, name="scores")(x)))


def prune(
    model: KerasModel, folder: Path | None = None, progress: Any = None, **options: Any
) -> KerasModel:
    view = TaskView(Tiny(), drawn(0), drawn(1), folder, progress or Silent(), deterministic=True)
    return Prune(**options).apply(model, view, seed=1)


def with_holes(model: KerasModel, fraction: float, **others: float) -> KerasModel:
    """A copy with that fraction of every kernel set to zero at random positions.

    Args:
      others: kernel name -> its own fraction.
    """
    rng = np.random.default_rng(7)
    copy = model.copy()
    for name, variable in copy.kernel_variables().items():
        order = rng.permutation(int(np.prod(variable.shape))).reshape(variable.shape)
        variable.assign(
            np.where(order < round(others.get(name, fraction) * order.size), 0, variable.numpy())
        )
    return copy


def zeros(w: np.ndarray) -> int:
    return int(np.sum(w == 0))
