"""By what a model wants its pixels multiplied: as the user says, as its file says, or as a trial shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compress.data.dataset import Dataset, Split
from compress.keras_models.input_scale import raw_pixel_layer
from compress.keras_models.model import KerasModel
from compress.measurement.scale_trial import Trial, centred, trials
from compress.tasks.task import Task
from compress.tflite.model import TFLiteModel

VERSION = 2  # raise it when a model may get another scale than before: what is remembered of model files goes stale
USUAL = (1 / 255, 1.0)  # what models are trained on: pixels in [0, 1], and raw ones
APART = 16  # two scales with a smaller ratio are not told apart
BY_RANGE = 2  # the range of a quantized input may be that many times too large or too small


@dataclass(frozen=True)
class InputScale:
    """A model sees float32 pixel * `value`; `note` says why, where the task says otherwise or nothing."""

    value: float
    note: str = ""


def of_data(task: Task, data: Dataset, asked: float | None) -> Task:
    """The task, with an input scale of 1 where its data are features. ValueError if another one is asked for."""
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
      declared: by the task; None if it declares none.
      asked: by the user with --input-scale; it counts more than all but a layer of the model that says otherwise.
      vouched: the model is the task's own, so no trial is made.

    Raises:
      ValueError: `asked` contradicts a layer of the model; nothing tells the scale; or the model is far better under
        another scale than the one declared, but does not fail under that one; or it is far better on pixels from -1
        to 1, which no scale gives.
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
    """Why a model does not take pixels multiplied by `given`, from its first layers or a trial; empty if it may.

    It does not if another scale, or pixels from -1 to 1, are clearly better. Features have no scale.
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
    """The declared scale first, then those that models are often trained with and that are far from it."""
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
    """The number that the largest code of a quantized input stands for; None if the input has no range from 0."""
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
    )  # int16 codes are always on both sides of 0
    return high if high > 0 and from_zero else None


def _text(scale: float) -> str:
    """The scale as a user would type it.

    >>> _text(1 / 255), _text(1.0), _text(0.017)
    ('1/255', '1', '0.017')
    """
    inverse = 1 / scale
    whole = inverse > 1 and abs(inverse - round(inverse)) < 1e-6
    return f"1/{round(inverse)}" if whole else f"{scale:.4g}"
