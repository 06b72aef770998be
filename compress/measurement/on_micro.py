"""The fields of a row about microcontrollers: if TFLM runs the file, its arena, and its accuracy in TFLM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compress.data.dataset import Split
from compress.measurement.scores import top1
from compress.micro import interpreter
from compress.micro.refusal import NotOnMicro
from compress.rows.measurement import RUNS
from compress.tflite.model import TFLiteModel

# The fields of a measurement that only TFLM gives.
FIELDS = ("on_micro", "arena_bytes", "arena_parts", "micro_top1", "micro_disagreements")


def on_micro(model: TFLiteModel) -> dict[str, Any]:
    """The fields of a measurement that TFLM fills; none if tflite-micro is not installed."""
    if not interpreter.is_installed():
        return {}
    try:
        arena = interpreter.arena(model.content)
    except NotOnMicro as refused:
        return {"on_micro": f"{refused.why}; {refused.way}"}
    return {
        "on_micro": RUNS,
        "arena_bytes": arena.total,
        "arena_parts": {"head": arena.head, "tail": arena.tail},
    }


def accuracy_on_micro(
    model: TFLiteModel,
    split: Split,
    input_scale: float,
    scores: np.ndarray,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """The share of images that TFLM gets right, and the number of images for which its class is not LiteRT's.

    Args:
      scores: of LiteRT for the same images, [n, classes].

    Raises:
      ValueError: TFLM does not run the file, or tflite-micro is not installed.
    """
    found = interpreter.scores(
        model.content, split.images, input_scale, progress or (lambda done: None)
    )
    return {
        "micro_top1": top1(found, split.labels),
        "micro_disagreements": int((found.argmax(axis=1) != scores.argmax(axis=1)).sum()),
    }
