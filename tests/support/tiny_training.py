"""A training that takes a second; as a program, a training that is killed at a given moment.

python tiny_training.py RECIPE MOMENT FOLDER
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from compress import backend
from compress.data.dataset import Dataset, Note, Split
from compress.tasks.task import Task
from compress.training.fit import fit
from compress.training.param_groups import ParamGroup
from compress.training.progress import History, Progress
from compress.training.recipe import Recipe
from compress.training.training_data import TrainingData

CLASSES = ("red", "green", "blue")
RECIPES = {
    "sgd": Recipe(
        summary="All that keeps state: momentum, schedule, averages, dropout and augmentation.",
        epochs=5,
        learning_rate=0.05,
        batch_size=16,
        optimizer="sgd",
        schedule="cosine",
        warmup=0.1,
        weight_decay=1e-3,
        label_smoothing=0.05,
        weight_average=0.9,
        flip=True,
        crop=1,
    ),
    "adam": Recipe(
        summary="So fast that no epoch is better than the first ones, and the rate is cut.",
        epochs=11,
        learning_rate=0.3,
        batch_size=16,
        schedule="plateau",
        keep="best",
        flip=True,
        crop=1,
    ),
    "groups": Recipe(
        summary="Parameter groups, one of them for two epochs, a triangle and alternating flip.",
        epochs=5,
        learning_rate=0.05,
        batch_size=16,
        optimizer="sgd",
        schedule="triangular",
        warmup=0.3,
        start=0.2,
        end=0.1,
        param_groups=(
            ParamGroup(end="/beta", learning_rate=4.0, l2=1e-4),
            ParamGroup(end="bias", epochs=2),
            ParamGroup(l2=1e-3),
        ),
        alternating_flip=True,
        crop=1,
    ),
}
# The epoch that the killed process does not finish.
SEED = 5
FATAL_EPOCH = {"sgd": 3, "adam": 11, "groups": 4}
MOMENTS = ("after an epoch", "in an epoch", "while saving")


def split(seed: int, n: int) -> Split:
    """Noisy images in one of three colors: uint8 [n, 8, 8, 3]."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % len(CLASSES)
    images = rng.normal(100, 60, (n, 8, 8, 3)) + 40 * np.eye(3)[labels][:, None, None, :]
    return Split(np.clip(images, 0, 255).astype(np.uint8), labels.astype(np.int64))


class Tiny(Task):
    """Classify three colors."""

    name: ClassVar = "tiny"
    input_shape: ClassVar = (8, 8, 3)

    def load(self, path: Path | None, note: Note) -> Dataset:
        return Dataset("tiny", CLASSES, split(0, 66), split(1, 30), lambda: split(2, 30))

    def build(self, *, width: float = 1.0, dropout: float = 1.0) -> Any:
        keras = backend.keras()
        keras.utils.set_random_seed(0)
        x = image = keras.layers.Input(self.input_shape)
        x = keras.layers.Conv2D(4, 3, use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.Dropout(0.2 * dropout)(keras.layers.ReLU()(x))
        x = keras.layers.GlobalAveragePooling2D()(x)
        return keras.Model(image, keras.layers.Dense(len(CLASSES))(x))

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        return RECIPES

    @property
    def finetuning(self) -> Recipe:
        return RECIPES["sgd"]


def view(folder: Path | None, progress: Progress) -> TrainingData:
    """The data of a training of the tiny task, with its checkpoints in `folder`."""
    data = Tiny().load(None, print)
    scale = Tiny.input_scale
    return TrainingData(data.train, data.validation, scale, folder, progress, deterministic=True)


class Watcher:
    """Progress that records its rows, notes and steps."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.notes: list[str] = []
        self.steps: list[int] = []

    def begin(self, title: str, epochs: int, steps: int, batch_size: int, done: int) -> None:
        self.begun = (epochs, steps, batch_size, done)

    def step(self, step: int, loss: float, accuracy: float) -> None:
        self.steps.append(step)

    def epoch(self, row: dict[str, float]) -> None:
        self.rows.append(row)

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)


@dataclasses.dataclass(frozen=True)
class Trained:
    """The result of a training."""

    model: Any
    history: History
    progress: Watcher

    @property
    def weights(self) -> list[np.ndarray]:
        """All weights, including the statistics of BatchNormalization."""
        return list(self.model.get_weights())

    @property
    def done_before(self) -> int:
        return self.progress.begun[-1]


def train(
    folder: Path | None = None,
    recipe: Recipe = RECIPES["sgd"],
    seed: int = SEED,
    progress: Watcher | None = None,
) -> Trained:
    """Train the tiny model from the start, or from the checkpoint in `folder`."""
    progress, model = progress or Watcher(), Tiny().build()
    history = fit(model, recipe, view(folder, progress), seed=seed)
    return Trained(model, history, progress)


def same(one: Trained, other: Trained) -> bool:
    """True if two trainings have the same history and the same weights, bit for bit."""
    ways = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in trained.history]
        for trained in (one, other)
    ]
    return ways[0] == ways[1] and all(map(np.array_equal, one.weights, other.weights))


class Began(Exception):
    """Raised when training begins; the checkpoint is read by then."""


def epochs_found(folder: Path, recipe: Recipe = RECIPES["sgd"], seed: int = SEED) -> int:
    """The number of finished epochs that a starting training finds in `folder`; the training is stopped."""

    class Stopping(Watcher):
        def begin(self, *words: Any) -> None:
            raise Began(words[-1])

    try:
        train(folder, recipe, seed, Stopping())
    except Began as began:
        return int(began.args[0])
    raise AssertionError("Training never began.")


class Fatal:
    """Progress that kills the process without cleanup in the epoch `epoch`."""

    def __init__(self, moment: str, epoch: int) -> None:
        self.moment, self.fatal, self.now = moment, epoch, 1

    def begin(self, title: str, epochs: int, steps: int, batch_size: int, done: int) -> None:
        if self.moment == "while saving":
            replace = os.replace

            def kill_instead(source: Any, target: Any) -> None:
                if self.now == self.fatal:
                    die()
                replace(source, target)

            os.replace = kill_instead

    def step(self, step: int, loss: float, accuracy: float) -> None:
        if self.moment == "in an epoch" and self.now == self.fatal and step == 2:
            die()

    def epoch(self, row: dict[str, float]) -> None:
        self.now += 1
        if self.moment == "after an epoch" and self.now == self.fatal:
            die()

    def note(self, sentence: str) -> None:
        pass


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(name: str, moment: str, folder: str) -> None:
    progress = Fatal(moment, FATAL_EPOCH[name])
    fit(Tiny().build(), RECIPES[name], view(Path(folder), progress), seed=SEED)


if __name__ == "__main__":
    main(*sys.argv[1:])
