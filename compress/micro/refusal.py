"""The reason why TFLM does not run a file, and what to do: found in the file, or else in TFLM's message."""

from __future__ import annotations

import re

from compress.tflite.graph import WEIGHTS, Graph, Operator
from compress.tflite.interpreter import CannotRun

_INT8 = "store the model in int8 (quantize --scheme int8)"


class NotOnMicro(CannotRun):
    """TFLM does not run a file: `why` is the reason, and `way` says what to do."""

    def __init__(self, why: str, way: str) -> None:
        ValueError.__init__(self, f"TFLM cannot run this TFLite file: {why}; {way}.")
        self.why, self.way = why, way


def refusal(graph: Graph, said: str) -> NotOnMicro:
    """The error to raise for a file that TFLM did not run.

    Args:
      said: the first line that TFLM printed about it.
    """
    # TFLM looks up operators before it checks their types.
    if found := re.search(r"Didn't find op for builtin opcode '(\w+)'", said):
        return NotOnMicro(
            f"it has no kernel for {found[1]}", "replace that operation in the model by one it has"
        )
    for operator in graph.operators:
        if cause := _cause(operator):
            return NotOnMicro(*cause)
    return NotOnMicro(f"it says {said!r}", "export the model in int8, or change that operation")


def _cause(operator: Operator) -> tuple[str, str] | None:
    """(reason, what to do) if TFLM has no kernel for the types of this operator; None if no such reason is known."""
    if any(tensor is not None and tensor.sparse for tensor in operator.inputs):
        return "weights are in TFLite's sparse encoding", "export the model without it"
    if operator.name == "DEQUANTIZE" and _dtype(operator, 0) == "float16":
        return "its weights are float16", f"keep float32, or {_INT8}"
    if operator.name not in WEIGHTS:
        return None
    weights, activations = _dtype(operator, WEIGHTS[operator.name][0]), _dtype(operator, 0)
    if weights == "int4" and operator.name == "FULLY_CONNECTED":
        return (
            "it has no FULLY_CONNECTED kernel for int4 weights",
            "keep these layers in int8 (quantize --scheme int4 --target micro)",
        )
    if weights in ("int8", "int4") and activations == "float32":
        return f"{operator.name} computes in float32 with {weights} weights", _INT8
    return None


def _dtype(operator: Operator, place: int) -> str | None:
    tensor = operator.inputs[place] if place < len(operator.inputs) else None
    return None if tensor is None else tensor.dtype
