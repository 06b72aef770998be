"""A task whose images and initial weights are the same everywhere, and the pinned summary of its models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from compress import backend
from compress.data.dataset import Dataset, Split
from compress.keras_models.model import KerasModel
from compress.micro import interpreter
from compress.tasks.task import Note, Task
from compress.tasks.view import TaskView
from compress.tflite.contents import matched_kernels
from compress.tflite.model import TFLiteModel
from compress.training.param_groups import ParamGroup
from compress.training.recipe import Recipe
from conftest import Silent

FINETUNING = Recipe(
    summary="A cosine from its top, and all that shapes the loss and the images.",
    epochs=1,
    learning_rate=0.05,
    batch_size=16,
    optimizer="sgd",
    schedule="cosine",
    weight_decay=0.05,
    label_smoothing=0.1,
    flip=True,
    crop=1,
)
RECIPES = {
    "warm-up, average": replace(FINETUNING, epochs=2, warmup=0.3, weight_average=0.9),
    "plateau, best": Recipe(
        summary="", epochs=9, learning_rate=0.02, batch_size=32, schedule="plateau", keep="best"
    ),
    "mixup": replace(FINETUNING, epochs=2, mixup=0.4, mixup_until=0.5, find_augmentation=True),
    "views": replace(FINETUNING, epochs=3, mixup=0.4, views=2),
    "constant": Recipe(
        summary="", epochs=2, learning_rate=0.02, batch_size=16, optimizer="sgd", dropout=0.0
    ),
    "triangle, groups": Recipe(
        summary="",
        epochs=3,
        learning_rate=0.05,
        batch_size=16,
        optimizer="sgd",
        momentum=0.85,
        schedule="triangular",
        warmup=0.3,
        start=0.2,
        end=0.1,
        alternating_flip=True,
        param_groups=(
            ParamGroup(end="/beta", learning_rate=4.0, l2=0.01),
            ParamGroup(end="bias", epochs=1),
            ParamGroup(l2=0.02),
        ),
    ),
}


def draw(seed: int, n: int, shift: int = 0) -> Split:
    """Images in one of three colors, uint8 [n, 8, 8, 3]; a `shift` gives them the label of another color."""
    rng = np.random.RandomState(seed)  # its stream is the same in every release of numpy
    labels = np.arange(n) % 3
    images = rng.normal(100, 50, (n, 8, 8, 3)) + 60 * np.eye(3)[labels][:, None, None, :]
    return Split(np.clip(images, 0, 255).astype(np.uint8), (labels + shift) % 3)


class Pinned(Task):
    """Classify three colors, starting from weights that no library draws."""

    name: ClassVar = "pinned"
    input_shape: ClassVar = (8, 8, 3)

    def load(self, path: Path | None, note: Note) -> Dataset:
        raise NotImplementedError

    def build(self, *, width: float = 1.0, dropout: float = 1.0) -> Any:
        keras, filters = backend.keras(), round(8 * width)
        k = keras.layers
        x = image = k.Input(self.input_shape, name="image")
        # No bias before BatchNormalization: its gradient is only rounding error, which Adam would enlarge.
        x = k.Conv2D(filters, 3, padding="same", use_bias=False, name="conv1")(x)
        x = k.ReLU(name="relu")(k.BatchNormalization(momentum=0.9, name="norm")(x))
        x = k.MaxPooling2D(name="pool")(x)
        x = k.Conv2D(filters, 3, activation="relu", name="conv2")(x)
        x = k.Dropout(0.2 * dropout, name="dropout")(k.GlobalAveragePooling2D(name="mean")(x))
        model = keras.Model(image, k.Dense(3, name="logits")(x))
        rng = np.random.RandomState(filters)
        for variable in model.weights:
            shape = variable.shape
            if len(shape) > 1:
                variable.assign(rng.normal(0, (2 / np.prod(shape[:-1])) ** 0.5, shape))
            else:  # Keras initializes these with zeros and ones
                variable.assign(variable.numpy() + rng.normal(0, 0.1, shape))
        return model

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        return RECIPES

    @property
    def finetuning(self) -> Recipe:
        return FINETUNING


def view(shift: int = 0) -> TaskView:
    """The view of the task; with a `shift`, validation labels contradict the training labels."""
    return TaskView(Pinned(), draw(0, 64), draw(1, 30, shift), None, Silent(), deterministic=True)


def summary(model: KerasModel | TFLiteModel, start: KerasModel) -> dict[str, list[float]]:
    """Mean and standard deviation of each kernel, and of the scores of a few images.

    Args:
      start: the model that a `.tflite` file was made from.
    """
    images = draw(2, 16).images / np.float32(255)
    if isinstance(model, TFLiteModel):
        arrays = matched_kernels(model.graph, start.kernels())
        if model.graph.encoded:  # only TFLM decodes it
            arrays["scores"] = interpreter.scores(model.content, draw(2, 16).images, 1 / 255)
        else:
            arrays["scores"] = _scores(model, images)
    else:
        arrays = model.kernels() | {"scores": np.array(model.keras(images, training=False))}
    return {name: [short(np.mean(w)), short(np.std(w))] for name, w in arrays.items()}


def short(value: Any) -> float:
    """Seven digits: a float32 has no more."""
    return float(f"{float(value):.7g}")


def _scores(model: TFLiteModel, images: np.ndarray) -> np.ndarray:
    runner = backend.litert().Interpreter(model_content=model.content)
    runner.allocate_tensors()
    (taken,), (given,) = runner.get_input_details(), runner.get_output_details()
    scores = []
    for image in images:
        runner.set_tensor(taken["index"], _as(image[None], taken))
        runner.invoke()
        scale, zero = given["quantization"]
        scores.append((runner.get_tensor(given["index"]) - float(zero)) * (scale or 1))
    return np.concatenate(scores)


def _as(image: np.ndarray, taken: Mapping[str, Any]) -> np.ndarray:
    scale, zero = taken["quantization"]
    if not scale:
        return image
    ends = np.iinfo(taken["dtype"])
    stored = np.clip(np.round(image / scale) + zero, ends.min, ends.max)
    return np.asarray(stored, taken["dtype"])
