"""Golden examples: inputs as the file takes them, and the outputs that TFLM gives for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compress.micro import interpreter
from compress.tflite.interpreter import inputs
from compress.tflite.model import TFLiteModel
from compress.tflite.tensor import Tensor


@dataclass(frozen=True, eq=False)
class Golden:
    """Examples of a file, in the numbers of its input and output tensors."""

    inputs: np.ndarray  # [n, *input shape without the batch]
    outputs: np.ndarray  # [n, classes]


def golden(model: TFLiteModel, images: np.ndarray, input_scale: float) -> Golden:
    """Golden examples from images.

    Args:
      images: uint8 [n, h, w, c], or float32 features [n, ...].

    Raises:
      CannotRun: TFLM does not run the file.
    """
    (given,), (gives,) = model.graph.inputs, model.graph.outputs
    taken = inputs(images, np.dtype(given.dtype), *quantization(given), input_scale)
    stacked = np.stack(list(taken))
    scores = interpreter.scores(model.content, images, input_scale)
    if gives.dtype == "float32":
        return Golden(stacked, scores)
    scale, zero_point = quantization(gives)
    codes = np.rint(scores.astype(np.float64) / scale) + zero_point
    return Golden(stacked, codes.astype(gives.dtype))


def quantization(tensor: Tensor) -> tuple[float, int]:
    """Scale and zero point of a tensor that has one of each; (0.0, 0) for a tensor that has none."""
    if not tensor.scales:
        return 0.0, 0
    return float(np.float32(tensor.scales[0])), int((tensor.zero_points or (0,))[0])
