"""Task `images`: the user's labeled images or features, from a folder or an `.npz`, with the user's own model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from compress.data.dataset import Dataset, Note
from compress.data.images import AS_THEY_ARE, read
from compress.data.preparation import Preparation
from compress.keras_models.input_scale import raw_pixel_layer
from compress.keras_models.model import KerasModel
from compress.tasks import input_scale as scales
from compress.tasks.task import Task
from compress.tflite.model import TFLiteModel
from compress.training.recipe import Recipe

# Augmentation is wrong for some images: a mirrored digit is not that digit. So a trial of the model decides.
FINETUNING = Recipe(
    summary="Train a model on: SGD on a cosine, images augmented where the model shows that it does no harm.",
    epochs=1, learning_rate=0.02, batch_size=64, optimizer="sgd", schedule="cosine", find_augmentation=True,
)  # fmt: skip

EPOCH_STEPS = 16  # wanted in an epoch; few images get smaller batches, since three steps per epoch repair nothing
SMALLEST_BATCH = 8


@dataclass(frozen=True)
class Images(Task):
    """Your own images by class, named with --data: a folder or an .npz file. Bring the model with --model."""

    name: ClassVar[str] = "images"
    shape: tuple[int, ...] = (0, 0, 0)  # of an image, [h, w, c]; set by `suited` from the data
    scale: float = 0.0  # input scale; set by `suited` from the model
    preparation: Preparation = AS_THEY_ARE  # of the pixels, before a model sees them
    batch_size: int = FINETUNING.batch_size  # for training; set by `suited` from the data

    @property
    def input_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Shape of an image, [h, w, c], or of the features of an example."""
        return self.shape

    @property
    def input_scale(self) -> float:  # type: ignore[override]
        """The factor that a pixel is multiplied by before the model sees it."""
        return self.scale

    def with_input_scale(self, scale: float) -> Task:
        """This task with another input scale: its models see float32 pixel * scale."""
        return replace(self, scale=scale)

    def load(self, path: Path | None, note: Note) -> Dataset:
        """The data at `path`: see `data.images.read`."""
        if path is None:
            raise ValueError("task images needs --data: a folder of images by class, or an .npz.")
        return read(path, note, self.preparation)

    def choices(self) -> Mapping[str, Any]:
        """The settings of the preparation that are not at their defaults."""
        return self.preparation.changed()

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
        return replace(FINETUNING, batch_size=self.batch_size)


def suited(
    task: Task,
    data: Dataset,
    model: KerasModel | TFLiteModel,
    input_scale: float | None,
    *,
    vouched: bool = False,
) -> tuple[Task, list[str]]:
    """The task fitted to the data and the model, and sentences on what was found.

    Any task gets the input scale of the model: see `input_scale.decided`. Features are not scaled. Task `images` also
    gets the image shape and the batch size.

    Args:
      input_scale: the factor for pixels that the user declared; None: the task's, or derived from the model.
      vouched: True if the model is the task's own.
    """
    if isinstance(task, Images):
        batch = max(SMALLEST_BATCH, len(data.train) // EPOCH_STEPS)
        task = replace(
            task,
            shape=data.train.images.shape[1:],
            batch_size=min(FINETUNING.batch_size, batch),
        )
    told = _prepared(task, model)
    if data.train.is_features:
        return scales.of_data(task, data, input_scale), told
    declared = task.input_scale or None
    scale = scales.decided(model, data, declared, input_scale, vouched=vouched)
    fitted = task if scale.value == declared else task.with_input_scale(scale.value)
    return fitted, [*told, *[scale.note] * bool(scale.note)]


def _prepared(task: Task, model: KerasModel | TFLiteModel) -> list[str]:
    """A sentence on how the pixels of task `images` are prepared; empty if they are not prepared.

    Raises:
      ValueError: the pixels are normalized, and the model begins with a layer that takes raw pixels.
    """
    if not isinstance(task, Images) or not task.preparation.changed():
        return []
    layer = raw_pixel_layer(model.keras) if isinstance(model, KerasModel) else None
    if layer and task.preparation.normalizes:
        raise ValueError(
            f"the model begins with a {layer} layer that takes raw pixels: leave out --mean and --std."
        )
    return [f"images are {task.preparation}."]


def prepared(task: Task, preparation: Preparation) -> Task:
    """Task `images` with this preparation of pixels. ValueError for another task, unless nothing is prepared."""
    if not preparation.changed():
        return task
    if not isinstance(task, Images):
        raise ValueError(
            f"--mean, --std, --bgr and --resize go with --task images, not with task {task.name}, which prepares its "
            "own pixels."
        )
    return replace(task, preparation=preparation)
