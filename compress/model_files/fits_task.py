"""Whether a loaded model takes the images of a task and gives its classes."""

from __future__ import annotations

import re
from typing import Any

from compress import backend
from compress.keras_models.layers import every_layer
from compress.keras_models.model import KerasModel
from compress.tflite.model import TFLiteModel


def check_fits(
    model: KerasModel | TFLiteModel,
    input_shape: tuple[int, int, int],
    classes: int,
    task: str = "",
) -> None:
    """Raise ValueError unless `model` maps images [h, w, c] of `input_shape` to that many classes.

    Args:
      task: the name of the task that has these images and classes, for the message.
    """
    if isinstance(model, TFLiteModel):
        return  # measuring opens the file and checks it
    inputs, outputs = getattr(model.keras, "inputs", []), getattr(model.keras, "outputs", [])
    wanted = f"{f'task {task}' if task else 'the task'} has {_shape(input_shape)} and {classes}"
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            f"model has {len(inputs)} inputs and {len(outputs)} outputs, {wanted}: "
            "give a model with one input, images, and one output, a number per class."
        )
    (batch, *image), scores = inputs[0].shape, outputs[0].shape
    if batch is not None or None in image:
        raise ValueError(
            f"model takes a batch of shape {_shape(inputs[0].shape)}, {wanted}: build it again with "
            f"Input({input_shape}), image size fixed and number of images open."
        )
    if len(scores) != 2 or (*image, scores[1]) != (*input_shape, classes):
        takes = f"{_shape(image)} images" if len(image) == 3 else f"inputs of shape {_shape(image)}"
        gives = (
            f"{scores[1]} classes" if len(scores) == 2 else f"outputs of shape {_shape(scores[1:])}"
        )
        raise ValueError(
            f"model takes {takes} and gives {gives}; {wanted}: give a model built for these images, "
            "or the task that this model was built for."
        )
    _check_names(model.keras)


def _check_names(model: Any) -> None:
    """Raise ValueError if TensorFlow refuses the name of the model or of a layer. Inputs may have any name."""
    names = [("model", model.name, "[A-Za-z0-9.]")]
    image = backend.keras().layers.InputLayer
    names += [
        ("layer", layer.name, "")
        for layer in every_layer(model)
        if not isinstance(layer, image) and not getattr(layer, "layers", ())
    ]
    for kind, name, begins in names:
        if not re.fullmatch(f"{begins}[A-Za-z0-9_.>-]*", name):
            raise ValueError(
                f"{kind} {name!r:.60} has a name that TensorFlow does not take: call it something of letters, digits, "
                "_, . and -, a letter first, where the model is built."
            )


def _shape(shape: Any) -> str:
    return "x".join("?" if size is None else str(size) for size in shape) or "nothing"
