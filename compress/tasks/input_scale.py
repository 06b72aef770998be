"""The input scale of a model: the factor for its pixels, from the user, from the model's file or from a trial."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compress.data.dataset import Dataset, Split
from compress.keras_models.input_scale import raw_pixel_layer
from compress.keras_models.model import KerasModel
from compress.measurement.scale_trial import Trial, centred, trials
from compress.tasks.task import Task
from compress.tflite.model import TFLiteModel

VERSION = 2  # raising it makes remembered scales stale: do so when a model may get another scale
USUAL = (1 / 255, 1.0)  # models are often trained on pixels in [0, 1], or on raw pixels
APART = 16  # two scales with a smaller ratio are not distinguished
BY_RANGE = 2  # the range of a quantized input may be too large or too small by this factor


@dataclass(frozen=True)
class InputScale:
    """A model sees float32 pixel * `value`. `note` says why, if the task declares another scale or none."""

    value: float
    note: str = ""


def of_data(task: Task, data: Dataset, asked: float | None) -> Task:
    """The task, with an input scale of 1 if its data are features. ValueError if the user asks for another scale."""
    if not data.train.is_features:
        return task
    if asked not in (None, 1.0):
        raise ValueError(
            f"{data.name} has float32 features, which are given to models as they are: leave out --input-scale."
        )
    return task if task.input_scale == 1 else task.with_input_scale(1.0)


def decided(
    model: KerasModel | TFLiteModel,
    data: Dataset,
    declared: float | None,
    asked: float | None,
    *,
    vouched: bool = False,
) -> InputScale:
    """The input scale of a model.

    Args:
      declared: the scale that the task declares; None if it declares none.
      asked: the scale that the user gives with --input-scale. It overrides all but a contradicting layer of the model.
      vouched: True if the model is the task's own. No trial is made then.

    Raises:
      ValueError: `asked` contradicts a layer of the model; nothing determines the scale; the model is far better under
        another scale than the declared one, but does not fail under the declared one; or the model is far better on
        pixels from -1 to 1, which no scale gives.
    """
    layer = raw_pixel_layer(model.keras) if isinstance(model, KerasModel) else None
    if layer and asked not in (None, 1.0):
        raise ValueError(
            f"the model begins with a {layer} layer that takes raw pixels: leave out --input-scale."
        )
    if asked is not None:
        return InputScale(asked)
    if layer:
        return _chosen(1.0, declared, f"the model begins with a {layer} layer that takes them so")
    candidates = _candidates(declared)
    top = _top_of_range(model) if isinstance(model, TFLiteModel) else None
    for scale in candidates:
        if top and 1 / BY_RANGE <= top / (255 * scale) <= BY_RANGE:
            return _chosen(scale, declared, f"the quantized input of the file ends at {top:.3g}")
    if vouched and declared is not None:
        return InputScale(declared)
    scores = trials(model, data.validation, len(data.classes), candidates)
    _refuse_centred(centred(model, data.validation, len(data.classes)), scores)
    return _tried(scores, declared)


def misfit(model: KerasModel, validation: Split, given: float) -> str:
    """Why pixels multiplied by `given` do not fit a model, from its first layers or a trial; empty if they may fit.

    They do not fit if another scale, or pixels from -1 to 1, are clearly better. Features have no scale.
    """
    if validation.is_features:
        return ""
    if layer := raw_pixel_layer(model.keras):
        told = f"begins with a {layer} layer that takes pixels from 0 to 255"
        return (
            ""
            if given == 1
            else f"{told}, and this training gives them multiplied by {_text(given)}"
        )
    scores = trials(model, validation, model.classes, _candidates(given))
    best = max(scores.values(), key=lambda trial: trial.right)
    middle = centred(model, validation, model.classes)
    if middle.clearly_above and middle.interval[0] > best.interval[1]:
        return (
            f"scores {middle} on {middle.images} validation images whose pixels are brought to -1 to 1, and "
            f"{scores[given]} multiplied by {_text(given)}, as this training gives them"
        )
    if not best.clearly_above or best.interval[0] <= scores[given].interval[1]:
        return ""
    return (
        f"scores {best} on {best.images} validation images whose pixels are multiplied by {_text(best.scale)}, and "
        f"{scores[given]} multiplied by {_text(given)}, as this training gives them"
    )


def _candidates(declared: float | None) -> list[float]:
    """The declared scale, then the usual scales that are far from it."""
    if declared is None:
        return list(USUAL)
    others = [s for s in USUAL if max(s / declared, declared / s) > APART]
    return [declared, *others]


def _tried(scores: dict[float, Trial], declared: float | None) -> InputScale:
    best = max(scores.values(), key=lambda trial: trial.right)
    others = [trial for trial in scores.values() if trial is not best]
    found = f"{best.images} validation images score {_scored(scores)}"
    if best.clearly_above and all(trial.at_chance for trial in others):
        return _chosen(best.scale, declared, found)
    if declared is None:
        raise ValueError(
            "nothing says how the model wants its pixels: add --input-scale 1/255 if it was trained on pixels "
            f"divided by 255, or --input-scale 1 if on pixels from 0 to 255 ({found})."
        )
    if best.clearly_above and best.interval[0] > scores[declared].interval[1]:
        raise ValueError(
            f"the model does not say how it wants its pixels, and {found}: say it with --input-scale "
            f"{_text(best.scale)}, or --input-scale {_text(declared)} if the task's own scale is meant."
        )
    return InputScale(declared)


def _refuse_centred(trial: Trial, scores: dict[float, Trial]) -> None:
    best = max(scores.values(), key=lambda each: each.right)
    if trial.clearly_above and trial.interval[0] > best.interval[1]:
        raise ValueError(
            f"the model does far better on pixels from -1 to 1: {trial.images} validation images score {trial}, and "
            f"{_scored(scores)}: add --mean 0.5 --std 0.5 with --task images; for another task, begin the model with "
            "Rescaling(1/127.5, -1). --input-scale takes the model as it is."
        )


def _scored(scores: dict[float, Trial]) -> str:
    return ", ".join(f"{trial} under {_text(trial.scale)}" for trial in scores.values())


def _chosen(scale: float, declared: float | None, reason: str) -> InputScale:
    if scale == declared:
        return InputScale(scale)
    how = "as they are, from 0 to 255" if scale == 1 else f"multiplied by {_text(scale)}"
    instead = f", not multiplied by {_text(declared)} as the task has it" if declared else ""
    return InputScale(scale, f"pixels are given {how}{instead}: {reason}.")


def _top_of_range(model: TFLiteModel) -> float | None:
    """The value of the largest code of a quantized input; None if the input has no range from about 0."""
    (image,) = model.graph.inputs
    if (
        len(image.scales) != 1
        or len(image.zero_points) != 1
        or not image.dtype.endswith(("int8", "int16"))
    ):
        return None
    (scale,), (zero_point,) = image.scales, image.zero_points
    limits = np.iinfo(image.dtype)
    low, high = (scale * (code - zero_point) for code in (limits.min, limits.max))
    from_zero = (
        image.dtype == "int16" or abs(low) < high / 4
    )  # int16 ranges are always on both sides of 0
    return high if high > 0 and from_zero else None


def _text(scale: float) -> str:
    """The scale as a user would type it.

    >>> _text(1 / 255), _text(1.0), _text(0.017)
    ('1/255', '1', '0.017')
    """
    inverse = 1 / scale
    whole = inverse > 1 and abs(inverse - round(inverse)) < 1e-6
    return f"1/{round(inverse)}" if whole else f"{scale:.4g}"
