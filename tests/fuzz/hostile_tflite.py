"""TFLite files made to hang a reader or to fill its memory: parts that overlap, and false lengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np

from compress import backend

RELU = 19
LOTS = 60_000


def file_of(
    tensors: int = 2,
    operators: int = 1,
    name: bytes = b"tensor",
    shape: tuple[int, ...] = (1, 2),
    scales: int = 1,
    inputs: int = 1,
    buffers: int = 2,
    data: bytes = bytes(8),
    codes: int = 1,
) -> bytes:
    """A TFLite file in which all tensors share one table, as do all operators, buffers and codes."""
    s, b = backend.tflite_schema(), flatbuffers.Builder(2**20)
    held = b.CreateByteVector(data)
    s.BufferStart(b)
    s.BufferAddData(b, held)
    buffer = s.BufferEnd(b)
    s.OperatorCodeStart(b)
    s.OperatorCodeAddDeprecatedBuiltinCode(b, RELU)
    code = s.OperatorCodeEnd(b)
    scale = b.CreateNumpyVector(np.ones(scales, np.float32))
    s.QuantizationParametersStart(b)
    s.QuantizationParametersAddScale(b, scale)
    quantization = s.QuantizationParametersEnd(b)
    axes, called = b.CreateNumpyVector(np.array(shape, np.int32)), b.CreateString(name)
    s.TensorStart(b)
    s.TensorAddShape(b, axes)
    s.TensorAddBuffer(b, 1)
    s.TensorAddName(b, called)
    s.TensorAddQuantization(b, quantization)
    tensor = s.TensorEnd(b)
    taken, given = (b.CreateNumpyVector(np.zeros(n, np.int32)) for n in (inputs, 1))
    s.OperatorStart(b)
    s.OperatorAddInputs(b, taken)
    s.OperatorAddOutputs(b, given)
    operator = s.OperatorEnd(b)
    lists = {
        "Tensors": again(b, tensor, tensors),
        "Inputs": b.CreateNumpyVector(np.zeros(1, np.int32)),
        "Outputs": b.CreateNumpyVector(np.zeros(1, np.int32)),
        "Operators": again(b, operator, operators),
    }
    s.SubGraphStart(b)
    for field, where in lists.items():
        getattr(s, f"SubGraphAdd{field}")(b, where)
    graph = again(b, s.SubGraphEnd(b), 1)
    parts = {
        "OperatorCodes": again(b, code, codes),
        "Subgraphs": graph,
        "Buffers": again(b, buffer, buffers),
    }
    s.ModelStart(b)
    s.ModelAddVersion(b, 3)
    for field, where in parts.items():
        getattr(s, f"ModelAdd{field}")(b, where)
    b.Finish(s.ModelEnd(b), file_identifier=b"TFL3")
    return bytes(b.Output())


def again(builder: Any, part: int, times: int) -> int:
    """A vector whose offsets all lead to the same table."""
    builder.StartVector(4, times, 4)
    for _ in range(times):
        builder.PrependUOffsetTRelative(part)
    return int(builder.EndVector())


ATTACKS: dict[str, Callable[[], bytes]] = {
    "one tensor very often": lambda: file_of(tensors=LOTS),
    "one long name very often": lambda: file_of(tensors=5000, name=b"x" * 500_000),
    "one long shape very often": lambda: file_of(tensors=5000, shape=(1,) * 50_000),
    "one list of scales very often": lambda: file_of(tensors=5000, scales=50_000),
    "one operator very often": lambda: file_of(operators=LOTS),
    "one list of inputs very often": lambda: file_of(operators=5000, inputs=50_000),
    "one code very often": lambda: file_of(codes=4 * LOTS),
    "a name that draws": lambda: file_of(name=b"\x1b[2J\x07\r\n"),
    "a huge shape": lambda: file_of(shape=(2**31 - 1,) * 8),
    "no data": lambda: file_of(data=b""),
}
