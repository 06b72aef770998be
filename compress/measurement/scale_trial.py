"""The accuracy of a model on validation images with several input scales. The test images are not opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from compress.data.dataset import Split
from compress.keras_models.model import KerasModel
from compress.measurement import chance
from compress.measurement.scores import is_correct
from compress.micro import interpreter as micro_interpreter
from compress.statistics.significance import wilson_interval
from compress.tflite import interpreter
from compress.tflite.model import TFLiteModel

IMAGES = 300
BATCH = 64


@dataclass(frozen=True)
class Trial:
    """The accuracy of a model with one input scale."""

    scale: float
    right: int
    images: int
    guessing: float  # the accuracy of guessing on these images

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of the accuracy."""
        return wilson_interval(self.right, self.images)

    @property
    def at_chance(self) -> bool:
        """True if the interval includes guessing, or lies below it."""
        return self.interval[0] <= self.guessing

    @property
    def at_chance_sentence(self) -> str:
        """The sentence about a model that is at chance level."""
        found = f"{self.right / self.images:.2%} of {self.images:,} validation images"
        return chance.said(found, self.interval, self.guessing)

    @property
    def clearly_above(self) -> bool:
        """True if the whole interval is clearly better than guessing."""
        return self.interval[0] > chance.clearly_above(self.guessing)

    def __str__(self) -> str:
        return f"{self.right / self.images:.1%}"


def centred(model: KerasModel | TFLiteModel, validation: Split, classes: int) -> Trial:
    """The trial of a model on the same images with pixels from -1 to 1: (pixel - 127.5) / 127.5."""
    images = validation.images[:IMAGES].astype(np.float32) - np.float32(127.5)
    return trials(model, replace(validation, images=images), classes, [1 / 127.5])[1 / 127.5]


def trials(
    model: KerasModel | TFLiteModel, validation: Split, classes: int, scales: Sequence[float]
) -> dict[float, Trial]:
    """Scale -> the trial of the model on the first `IMAGES` validation images, when it sees pixel * scale."""
    images, labels = validation.images[:IMAGES], validation.labels[:IMAGES]
    guessing = chance.share(labels, classes)
    return {
        scale: Trial(
            scale,
            int(is_correct(_scores(model, images, scale), labels).sum()),
            len(labels),
            guessing,
        )
        for scale in scales
    }


def _scores(model: KerasModel | TFLiteModel, images: np.ndarray, scale: float) -> np.ndarray:
    if isinstance(model, TFLiteModel):
        run = micro_interpreter.scores if model.graph.encoded else interpreter.scores_apart
        return run(model.content, images, scale, lambda done: None)
    seen = (
        images[start : start + BATCH] * np.float32(scale) for start in range(0, len(images), BATCH)
    )
    return np.concatenate([np.array(model.keras(batch, training=False)) for batch in seen])
