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

# Nothing here that is wrong for some images: a mirrored digit is another one.
FINETUNING = Recipe(
    summary="Train a model on: SGD on a cosine, images as they are.", epochs=1, learning_rate=0.02,
    batch_size=64, optimizer="sgd", schedule="cosine",
)  # fmt: skip


@dataclass(frozen=True)
class Images(Task):
    """Your own images by class, named with --data: a folder or an .npz file. Bring the model with --model."""

    name: ClassVar[str] = "images"
    shape: tuple[int, int, int] = (0, 0, 0)  # of an image, [h, w, c]; known once the data are
    scale: float = 0.0  # known once the model is

    @property
    def input_shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        """Shape of an image, [h, w, c]."""
        return self.shape

    @property
    def input_scale(self) -> float:  # type: ignore[override]
        """What a pixel is multiplied by before the model sees it."""
        return self.scale

    def load(self, path: Path | None, note: Note) -> Dataset:
        """See `image_data.read`."""
        if path is None:
            raise ValueError("task images needs --data: a folder of images by class, or an .npz.")
        return read(path, note)

    def sources(self, path: Path | None) -> Sequence[Path] | None:
        """The folder or file itself."""
        return None if path is None else [path]

    def build(self, *, width: float = 1.0, dropout: float = 1.0) -> Any:
        """ValueError: nobody said what a model of these images looks like."""
        raise ValueError(
            "task images has no architecture to build: name the model file of a student with --student, or write a "
            "task with `build` and name it with --task MODULE:OBJECT."
        )

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        """None: there is nothing to train from scratch."""
        return {}

    @property
    def finetuning(self) -> Recipe:
        """How stages train the user's model on."""
        return FINETUNING


def suited(
    task: Task, data: Dataset, model: KerasModel | TFLiteModel | None, input_scale: float | None
) -> Task:
    """`task`, knowing the images' shape and how `model` wants its pixels if it is `images`.

    Args:
      input_scale: as the user declared it; None to read it off the model.

    Raises:
      ValueError: the scale is declared twice, or nowhere, or is not that of the task.
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
