"""Task `images`: anybody's labelled images or features, from a folder or an `.npz`, with a model that they bring."""

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

# For some images augmentation would be wrong, as a mirrored digit is no longer that digit: so the model is asked.
FINETUNING = Recipe(
    summary="Train a model on: SGD on a cosine, images augmented where the model shows that it does no harm.",
    epochs=1, learning_rate=0.02, batch_size=64, optimizer="sgd", schedule="cosine", find_augmentation=True,
)  # fmt: skip

EPOCH_STEPS = 16  # of few images, in smaller batches: a short training of three steps an epoch repairs nothing
SMALLEST_BATCH = 8


@dataclass(frozen=True)
class Images(Task):
    """Your own images by class, named with --data: a folder or an .npz file. Bring the model with --model."""

    name: ClassVar[str] = "images"
    shape: tuple[int, ...] = (0, 0, 0)  # of an image, [h, w, c]; set by `suited` from the data
    scale: float = 0.0  # input scale; set by `suited` from the model
    preparation: Preparation = AS_THEY_ARE  # of pixels, before a model gets them
    batch_size: int = FINETUNING.batch_size  # of trainings; set by `suited` from the data

    @property
    def input_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Shape of an image, [h, w, c], or of a feature."""
        return self.shape

    @property
    def input_scale(self) -> float:  # type: ignore[override]
        """What a pixel is multiplied by before the model sees it."""
        return self.scale

    def with_input_scale(self, scale: float) -> Task:
        """This task, whose models see float32 pixel * scale."""
        return replace(self, scale=scale)

    def load(self, path: Path | None, note: Note) -> Dataset:
        """The data at `path`: see `data.images.read`."""
        if path is None:
            raise ValueError("task images needs --data: a folder of images by class, or an .npz.")
        return read(path, note, self.preparation)

    def choices(self) -> Mapping[str, Any]:
        """What of the preparation is not at its default."""
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
    """The task fitted to the data and the model, and sentences on what was found out.

    Any task gets the input scale of the model: see `input_scale.decided`. Features are given as they are. Task `images`
    gets the image shape too, and the size of batches.

    Args:
      input_scale: the factor for pixels that the user declared; None to take the task's or derive it from the model.
      vouched: the model is the task's own.
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
    """A sentence on how the pixels of task `images` were prepared; none if they were not.

    Raises:
      ValueError: they were normalized, and the model begins with a layer that takes raw pixels.
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
