"""The operators and tensors of a `.tflite` file, as plain objects."""

from __future__ import annotations

import math
from dataclasses import dataclass

from compress.tflite.tensor import Tensor

# Operator -> (index of the weights among its inputs, number of axes of the weights).
WEIGHTS = {
    "CONV_2D": (1, 4),
    "DEPTHWISE_CONV_2D": (1, 4),
    "FULLY_CONNECTED": (1, 2),
    "TRANSPOSE_CONV": (1, 4),
}


@dataclass(frozen=True, eq=False)
class Operator:
    """One operator: its name in the TFLite schema, such as "CONV_2D", its tensors and its multiply-accumulates."""

    name: str
    inputs: tuple[Tensor | None, ...]  # None: an optional input that is absent
    outputs: tuple[Tensor, ...]
    macs: int
    version: int = 1  # version of the operator in the schema


@dataclass(frozen=True, eq=False)
class Graph:
    """The main subgraph of a file. Operators are in the order in which they run."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    tensors: tuple[Tensor, ...] = ()  # all tensors, by their index in the file
    encoded: bool = False  # True if the file holds weights that only TFLM decodes

    def producers(self) -> dict[Tensor, Operator]:
        """Tensor -> the operator that computes it."""
        return {tensor: operator for operator in self.operators for tensor in operator.outputs}


def macs(name: str, inputs: tuple[Tensor | None, ...], outputs: tuple[Tensor, ...]) -> int:
    """Multiply-accumulates of one operator, including those on padding; 0 if the operator is not in `WEIGHTS`."""
    if name not in WEIGHTS:
        return 0
    place, rank = WEIGHTS[name]
    weights, image = inputs[place], inputs[2 if name == "TRANSPOSE_CONV" else 0]
    if weights is None or image is None or len(weights.shape) != rank:
        raise ValueError(f"{name} without weights of {rank} axes")
    if name == "TRANSPOSE_CONV":  # [o, h, w, i]: every input value times the window of every o
        return math.prod(image.shape) * math.prod(weights.shape[:3])
    # The weights are [o, h, w, i] with i per group, [1, h, w, o] or [o, i].
    window = weights.shape[1:3] if name == "DEPTHWISE_CONV_2D" else weights.shape[1:]
    return math.prod(outputs[0].shape) * math.prod(window)
