"""Check that a loaded model takes the images of a task and gives its classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compress import backend
from compress.findings import CannotTreat, Finding
from compress.keras_models.layers import every_layer
from compress.keras_models.model import KerasModel
from compress.model_files.header import header_of
from compress.tflite.model import TFLiteModel

RENAMES = "For layer names, `compress doctor FILE --fix NEW.keras` does it."


def check_fits(
    model: KerasModel | TFLiteModel,
    input_shape: tuple[int, ...],
    classes: int,
    task: str = "",
) -> None:
    """Raise ValueError unless `model` maps images [h, w, c] of `input_shape` to `classes`, and TF takes its names.

    Args:
      task: the name of the task that has these images and classes, for the message.
    """
    check_shapes(model, input_shape, classes, task)
    if isinstance(model, KerasModel):
        check_names(model.keras)


def check_shapes(
    model: KerasModel | TFLiteModel,
    input_shape: tuple[int, ...],
    classes: int,
    task: str = "",
) -> None:
    """The same as `check_fits`, without the check of names."""
    if isinstance(model, TFLiteModel):
        return  # measuring opens the file and checks it
    inputs, outputs = getattr(model.keras, "inputs", []), getattr(model.keras, "outputs", [])
    wanted = _wanted(input_shape, classes, task)
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
        gives = (
            f"{scores[1]} classes" if len(scores) == 2 else f"outputs of shape {_shape(scores[1:])}"
        )
        takes = _misfit(image, gives, wanted, _other_way(image, input_shape, task))
        raise ValueError(f"model {takes}")


def check_header(path: Path, input_shape: tuple[int, ...], classes: int, task: str) -> None:
    """Raise ValueError if a model file's header states another image shape or class count. Keras is not imported."""
    header = header_of(path) if path.suffix.lower() != ".tflite" else None
    if header and (header.image != input_shape or header.classes not in (None, classes)):
        gives = f"{header.classes} classes" if header.classes else ""
        wanted, way = (
            _wanted(input_shape, classes, task),
            _other_way(header.image, input_shape, task),
        )
        raise ValueError(f"model {path} {_misfit(header.image, gives, wanted, way)}")


def _wanted(input_shape: Sequence[int], classes: int, task: str) -> str:
    return f"{f'task {task}' if task else 'the task'} has {_shape(input_shape)} and {classes}"


def _misfit(image: Sequence[int], gives: str, wanted: str, way: str) -> str:
    takes = f"{_shape(image)} images" if len(image) == 3 else f"inputs of shape {_shape(image)}"
    both = f"{takes} and gives {gives}" if gives else takes
    return f"takes {both}; {wanted}: give a model built for these images, or {way}."


def _other_way(image: Sequence[int], input_shape: Sequence[int], task: str) -> str:
    sized = len(image) == len(input_shape) == 3 and image[2] == input_shape[2]
    if task == "images" and sized and tuple(image) != tuple(input_shape):
        return f"resize them with --resize {_shape(image[:2])}"
    return "the task that this model was built for"


def check_names(model: Any) -> None:
    """Raise CannotTreat if TensorFlow refuses the name of a Keras model or of a layer. Inputs may have any name."""
    names = [("model", model.name, "[A-Za-z0-9.]")]
    image = backend.keras().layers.InputLayer
    names += [
        ("layer", layer.name, "")
        for layer in every_layer(model)
        if not isinstance(layer, image) and not getattr(layer, "layers", ())
    ]
    why = "has a name that TensorFlow does not take"
    way = "name it with letters, digits, _, . and -, beginning with a letter, where the model is built"
    findings = [
        Finding((name,) if kind == "layer" else (), why, way, f"{kind} {name!r:.60}")
        for kind, name, begins in names
        if not re.fullmatch(f"{begins}[A-Za-z0-9_.>-]*", name)
    ]
    if findings:
        raise CannotTreat(*findings, cure=RENAMES if findings[-1].layers else "")


def _shape(shape: Any) -> str:
    return "x".join("?" if size is None else str(size) for size in shape) or "nothing"
