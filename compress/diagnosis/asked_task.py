"""The task that a model is diagnosed for: the named one, or the one that `compress run` would use for the model."""

from __future__ import annotations

import numpy as np

from compress.data.dataset import Dataset, Split
from compress.keras_models.model import KerasModel
from compress.tasks.images import Images
from compress.tasks.task import Task
from compress.tasks.view import TaskView
from compress.training.progress_bars import Quiet


def view(task: Task, data: Dataset) -> TaskView:
    """A task as stages see it when they only check a model and nothing is run."""
    return TaskView(task, data.train, data.validation, None, Quiet())


def view_without_data(model: KerasModel, usual: Task | None = None) -> TaskView:
    """A task as stages see it, with one blank image, or blank features, as all data.

    Args:
      usual: the default task of a command. It is used if its image shape and number of classes are those of the model.
        Otherwise, task `images` is used with the image shape of the model.
    """
    task = usual if usual and _fits(model, usual) else Images(shape=model.input_shape, scale=1.0)
    kind = np.uint8 if len(model.input_shape) == 3 else np.float32
    blank = Split(np.zeros((1, *model.input_shape), kind), np.zeros(1, np.int64))
    return TaskView(task, blank, blank, None, Quiet())


def _fits(model: KerasModel, task: Task) -> bool:
    same_images = tuple(task.input_shape) == model.input_shape
    return same_images and KerasModel(task.build()).classes == model.classes
