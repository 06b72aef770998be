"""Encode weights losslessly in fewer bits, in the format of TFLM's operator DECODE, and decode them.

A bitmap marks the nonzero weights, which follow it in order. A table lists the distinct weights, and each weight is a
short index into the table. TFLM decodes the weights into RAM each time their operator runs. The format is defined by
TFLM's source, tensorflow/lite/micro/kernels/decode_state_prune.cc and decode_state_lut.cc.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from compress.tflite.graph import Graph
from compress.tflite.tensor import Tensor

NAME = "TFLM_DECODE"  # name of the custom operator
Coding = Literal["bitmap", "table"]
_HEADER = 16  # bytes: kind, version, 2 unused, then fields of the kind
_TABLE, _BITMAP = 0, 2  # kinds
_VERSION = 1  # of the header, and of both kinds
_WHOLE = 15  # in place of an axis: one table for the whole tensor
_MAX_BITS = 7


@dataclass(frozen=True)
class Encoded:
    """An encoded tensor: the two tensors of bytes that DECODE takes."""

    coding: Coding
    data: bytes
    ancillary: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.data) + len(self.ancillary)


def as_bitmap(values: np.ndarray) -> Encoded:
    """Encode int8 values as one bit per value, and the nonzero values.

    >>> as_bitmap(np.array([0, 5, 0, 0, 0, 0, 0, 0, -1], np.int8)).data.hex()
    '4080'
    """
    header = bytes([_BITMAP, _VERSION, 0, 0, _VERSION]).ljust(_HEADER, b"\0")
    flat = values.reshape(-1)
    return Encoded("bitmap", np.packbits(flat != 0).tobytes(), header + flat[flat != 0].tobytes())


def as_table(values: np.ndarray, axis: int | None) -> Encoded | None:
    """Encode int8 values as indices of as few bits as possible into a table; None if there are too many values.

    Args:
      axis: each channel along this axis has its own table, as it has its own scale; None: one table.
    """
    channels = [values] if axis is None else list(np.moveaxis(values, axis, 0))
    found = [np.unique(channel, return_inverse=True) for channel in channels]
    length = max(len(table) for table, _ in found)
    bits = max(1, (length - 1).bit_length())
    if bits > _MAX_BITS:
        return None
    numbers = np.stack([n.reshape(c.shape) for (_, n), c in zip(found, channels, strict=True)])
    numbers = numbers[0] if axis is None else np.moveaxis(numbers, 0, axis)
    packed = (numbers.reshape(-1, 1) >> np.arange(bits - 1, -1, -1)) & 1
    tables = [np.pad(table, (0, length - len(table))) for table, _ in found]
    where = _WHOLE if axis is None else axis
    header = bytes([_TABLE, _VERSION, 0, 0, _VERSION, where << 4 | bits, length])
    return Encoded(
        "table",
        np.packbits(packed.astype(np.uint8).reshape(-1)).tobytes(),
        header.ljust(_HEADER, b"\0") + np.concatenate(tables).astype(np.int8).tobytes(),
    )


def values_of(data: bytes, ancillary: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Decode the int8 values of a tensor of this shape. ValueError if the encoding is unknown or holds too few."""
    count, rest = math.prod(shape), np.frombuffer(ancillary[_HEADER:], np.int8)
    if len(ancillary) < _HEADER or ancillary[1] != _VERSION or ancillary[4] != _VERSION:
        raise ValueError("weights encoded for another release of DECODE")
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    if ancillary[0] == _BITMAP:
        kept = bits[:count].astype(bool)
        if len(kept) != count or kept.sum() > len(rest):
            raise ValueError(f"{len(kept)} bits and {len(rest)} numbers for {count} weights")
        values = np.zeros(count, np.int8)
        values[kept] = rest[: kept.sum()]
        return values.reshape(shape)
    if ancillary[0] != _TABLE:
        raise ValueError(f"weights encoded by kind {ancillary[0]} of DECODE")
    where, width, length = ancillary[5] >> 4, ancillary[5] & 7, ancillary[6]
    if not width or len(bits) < count * width:
        raise ValueError(f"{len(bits)} bits for {count} weights of {width} bits")
    weight_of_bits = 1 << np.arange(width - 1, -1, -1)
    numbers = (bits[: count * width].reshape(count, width) * weight_of_bits).sum(axis=1)
    numbers = numbers.reshape(shape)
    if where != _WHOLE:
        if where >= len(shape):
            raise ValueError(f"tables along axis {where} of {list(shape)}")
        along = [-1 if axis == where else 1 for axis in range(len(shape))]
        numbers = numbers + length * np.arange(shape[where]).reshape(along)
    if numbers.max(initial=-1) >= len(rest):
        raise ValueError(f"weight {numbers.max()} of a table of {len(rest)}")
    return rest[numbers]


def decoded(graph: Graph, take: Callable[[int], None]) -> Graph:
    """The graph without DECODE operators: their outputs are decoded and become constants.

    Args:
      take: is called with the number of bytes of each encoded tensor; it raises ValueError if the total is too large.
    """
    decoders = [operator for operator in graph.operators if operator.name == NAME]
    if not decoders:
        return graph
    constants = {}
    for operator in decoders:
        sources = zip(operator.inputs[::2], operator.inputs[1::2], operator.outputs, strict=True)
        for data, ancillary, output in sources:
            constants[output] = _constant(data, ancillary, output, take)
    operators = tuple(
        replace(o, inputs=tuple(constants.get(t, t) if t else None for t in o.inputs))
        for o in graph.operators
        if o.name != NAME
    )
    return replace(graph, operators=operators, encoded=True)


def _constant(
    data: Tensor | None, ancillary: Tensor | None, output: Tensor, take: Callable[[int], None]
) -> Tensor:
    if data is None or ancillary is None or output.dtype != "int8":
        raise ValueError(f"a DECODE of {output.dtype} weights")
    if math.prod(output.shape) > 8 * len(data.data):
        raise ValueError(f"{math.prod(output.shape)} weights in {len(data.data)} bytes")
    take(len(data.data) + len(ancillary.data))
    values = values_of(bytes(data.data), bytes(ancillary.data), output.shape)
    return replace(
        output,
        buffer=data.buffer,
        data=memoryview(values.tobytes()),
        encoded_in=(data.buffer, ancillary.buffer),
        encoded_bytes=len(data.data) + len(ancillary.data),
    )
