"""The operators and tensors of a `.tflite` file, as plain objects."""

from __future__ import annotations

import math
from dataclasses import dataclass

from compress.tflite.tensor import Tensor

# Operator -> the place of its weights among its inputs, and their number of axes.
WEIGHTS = {
    "CONV_2D": (1, 4),
    "DEPTHWISE_CONV_2D": (1, 4),
    "FULLY_CONNECTED": (1, 2),
    "TRANSPOSE_CONV": (1, 4),
}


@dataclass(frozen=True, eq=False)
class Operator:
    """One operation: its name as in the TFLite schema ("CONV_2D"), its tensors, its multiply-accumulates."""

    name: str
    inputs: tuple[Tensor | None, ...]  # None: an optional input that is absent
    outputs: tuple[Tensor, ...]
    macs: int
    version: int = 1  # of the operator, as the schema counts


@dataclass(frozen=True, eq=False)
class Graph:
    """The main subgraph of a file; operators in the order in which they run."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    tensors: tuple[Tensor, ...] = ()  # all of them, by their place in the file
    encoded: bool = False  # whether the file holds weights that only TFLM decodes

    def producers(self) -> dict[Tensor, Operator]:
        """Tensor -> the operator that computes it."""
        return {tensor: operator for operator in self.operators for tensor in operator.outputs}


def macs(name: str, inputs: tuple[Tensor | None, ...], outputs: tuple[Tensor, ...]) -> int:
    """Multiply-accumulates of one operator, those with padding included; 0 unless the operator is in `WEIGHTS`."""
    if name not in WEIGHTS:
        return 0
    place, rank = WEIGHTS[name]
    weights, image = inputs[place], inputs[2 if name == "TRANSPOSE_CONV" else 0]
    if weights is None or image is None or len(weights.shape) != rank:
        raise ValueError(f"{name} without weights of {rank} axes")
    if name == "TRANSPOSE_CONV":  # [o, h, w, i]: every input number times the window of every o
        return math.prod(image.shape) * math.prod(weights.shape[:3])
    # [o, h, w, i], i being per group; [1, h, w, o]; [o, i]
    window = weights.shape[1:3] if name == "DEPTHWISE_CONV_2D" else weights.shape[1:]
    return math.prod(outputs[0].shape) * math.prod(window)
