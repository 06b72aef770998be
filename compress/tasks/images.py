"""Task `images`: anybody's labelled images, from a folder by class or an `.npz` file, with a model that they bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from compress.data.dataset import Dataset, Note
from compress.data.images import read
from compress.keras_models.input_scale import takes_raw_pixels
from compress.keras_models.model import KerasModel
from compress.tasks.task import Task
from compress.tflite.model import TFLiteModel
from compress.training.recipe import Recipe

# No augmentation: for some images it would be wrong, as a mirrored digit is no longer that digit.
FINETUNING = Recipe(
    summary="Train a model on: SGD on a cosine, images as they are.", epochs=1, learning_rate=0.02,
    batch_size=64, optimizer="sgd", schedule="cosine",
)  # fmt: skip


@dataclass(frozen=True)
class Images(Task):
    """Your own images by class, named with --data: a folder or an .npz file. Bring the model with --model."""

    name: ClassVar[str] = "images"
    shape: tuple[int, int, int] = (0, 0, 0)  # of an image, [h, w, c]; set by `suited` from the data
    scale: float = 0.0  # input scale; set by `suited` from the model

    @property
    def input_shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        """Shape of an image, [h, w, c]."""
        return self.shape

    @property
    def input_scale(self) -> float:  # type: ignore[override]
        """What a pixel is multiplied by before the model sees it."""
        return self.scale

    def load(self, path: Path | None, note: Note) -> Dataset:
        """The data at `path`: see `data.images.read`."""
        if path is None:
            raise ValueError("task images needs --data: a folder of images by class, or an .npz.")
        return read(path, note)

    def sources(self, path: Path | None) -> Sequence[Path] | None:
        """The folder or file itself."""
        return None if path is None else [path]

    def build(self, *, width: float = 1.0, dropout: float = 1.0) -> Any:
        """Raise ValueError: this task has no network of its own."""
        raise ValueError(
            "task images has no architecture to build: name the model file of a student with --student, or write a "
            "task with `build` and name it with --task MODULE:OBJECT."
        )

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        """Empty: this task has no network to train from scratch."""
        return {}

    @property
    def finetuning(self) -> Recipe:
        """The recipe by which stages train the user's model further."""
        return FINETUNING


def suited(
    task: Task, data: Dataset, model: KerasModel | TFLiteModel | None, input_scale: float | None
) -> Task:
    """The task fitted to the data and the model. Only task `images` changes: it gets image shape and input scale.

    Args:
      input_scale: the factor for pixels that the user declared; None to derive it from the model.

    Raises:
      ValueError: the scale is declared both by the user and by the model or task, or by none of them.
    """
    raw = isinstance(model, KerasModel) and takes_raw_pixels(model.keras)
    if not isinstance(task, Images):
        if input_scale is not None:
            raise ValueError(f"task {task.name} has an input scale: leave out --input-scale.")
        if raw and task.input_scale != 1:
            raise ValueError(
                "the model begins with a Rescaling layer that takes pixels from 0 to 255, but task "
                f"{task.name} gives them multiplied by {task.input_scale:.4g}: build it without that layer, "
                "or give its images with --task images."
            )
        return task
    if raw and input_scale not in (None, 1.0):
        raise ValueError(
            "the model begins with a Rescaling layer that takes raw pixels: leave out --input-scale."
        )
    if input_scale is None and not raw:
        raise ValueError(
            "nothing says how the model wants its pixels: add --input-scale 1/255 if it was trained on pixels "
            "divided by 255, or --input-scale 1 if on pixels from 0 to 255."
        )
    height, width, channels = data.train.images.shape[1:]
    return replace(task, shape=(height, width, channels), scale=input_scale or 1.0)
