"""The activations that are in memory at the same time, and the operator at which they take the most bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from compress.tflite.graph import Graph, Operator
from compress.tflite.tensor import Tensor

_BYTES = {
    "int8": 1,
    "uint8": 1,
    "bool": 1,
    "int16": 2,
    "float16": 2,
    "int32": 4,
    "float32": 4,
    "int64": 8,
}


@dataclass(frozen=True)
class Peak:
    """The operator at which the live tensors take the most bytes, and these tensors with their bytes."""

    number: int  # of the operator, from 0
    operator: Operator
    alive: tuple[tuple[Tensor, int], ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all live tensors. The head of the arena is larger if tensors leave gaps."""
        return sum(size for _, size in self.alive)


def peak(graph: Graph) -> Peak:
    """The peak of a file; the first one of equal peaks. Each number of a tensor of unknown type counts as 4 bytes.

    A tensor lives from the operator that computes it to the last one that reads it; inputs live from the first operator
    on, outputs to the last.
    """
    born = dict.fromkeys(graph.inputs, 0)
    dies: dict[Tensor, int] = {}
    for number, operator in enumerate(graph.operators):
        born.update({t: number for t in operator.outputs if t not in born})
        dies.update({t: number for t in (*operator.outputs, *operator.inputs) if t in born})
    dies.update(dict.fromkeys((t for t in graph.outputs if t in born), len(graph.operators) - 1))
    peaks = [
        Peak(
            number,
            operator,
            tuple((t, _size(t)) for t in born if born[t] <= number <= dies.get(t, -1)),
        )
        for number, operator in enumerate(graph.operators)
    ]
    if not peaks:
        raise ValueError("this TFLite file has no operators: there is nothing to run.")
    return max(peaks, key=lambda found: found.size_bytes)


def _size(tensor: Tensor) -> int:
    return math.prod(tensor.shape) * _BYTES.get(tensor.dtype, 4)
