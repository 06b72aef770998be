"""Parse an untrusted `.tflite` file into a Graph, in pure Python. A damaged file raises ValueError."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from functools import cache
from typing import Any

from compress import backend
from compress.tflite import decode
from compress.tflite.graph import Graph, Operator, macs
from compress.tflite.tensor import Tensor

MARK = b"TFL3"
# A damaged or hostile file may claim more. Without these limits it could fill the memory.
_MAX_RANK = 8
_MAX_NAME = 4096
# Minimum size of a list entry in bytes: a number, or an offset with or without its table. _TENSOR is the table alone.
_INT32, _OPERATOR, _CODE, _TENSOR = 4, 24, 8, 20


def read(content: bytes) -> Graph:
    """The main subgraph of a `.tflite` file. Weights that are encoded for TFLM are decoded and become constants.

    Raises:
      ValueError: the content is not a `.tflite` file, or is damaged or cut off.
    """
    if content[4:8] != MARK:
        raise ValueError("this is not a readable TFLite file: it has no TFL3 mark at byte 4.")
    with damage_as_sentence():
        return _graph(content)


@contextlib.contextmanager
def damage_as_sentence() -> Iterator[None]:
    """Convert an exception that the schema classes raise for a damaged file into a ValueError that says so."""
    try:
        yield
    except (
        struct.error,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        OverflowError,
    ) as error:
        raise ValueError(
            f"this is not a readable TFLite file, it is damaged or cut off ({error}): export it again."
        ) from error


class Room:
    """The number of bytes that may still be read from a file. In total, at most the length of the file is read.

    A hostile file may place many parts at the same bytes. Without this limit, reading them could fill the memory. A
    vector that several tables share counts once, and is one object in memory. A repeated table also counts once.
    """

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = self.left = size_bytes
        self._vectors: dict[tuple[int, int], tuple[Any, ...]] = {}
        self._tables: set[int] = set()

    def take(self, size_bytes: int) -> None:
        self.left -= size_bytes
        if self.left < 0:
            raise ValueError(f"its parts together are longer than its {self.size_bytes} bytes")

    def table(self, place: int, size_bytes: int) -> None:
        """Count the bytes of a table that begins at `place`, but only once."""
        if place not in self._tables:
            self._tables.add(place)
            self.take(size_bytes)

    def vector(self, array: Any) -> tuple[Any, ...]:
        """The values of a vector. `array` is a view of the file's bytes, or the number 0 if the vector is absent."""
        if isinstance(array, int) or not array.size:
            return ()
        place = (array.__array_interface__["data"][0], array.nbytes)
        if place not in self._vectors:
            self.take(array.nbytes)
            self._vectors[place] = tuple(array.tolist())
        return self._vectors[place]


def _graph(content: bytes) -> Graph:
    model, room = backend.tflite_schema().Model.GetRootAs(content, 0), Room(len(content))
    subgraph = _each(model.Subgraphs, min(1, model.SubgraphsLength()), room)[0]
    stored: dict[int, memoryview] = {}
    tensors = [
        _tensor(table, content, model, stored, room)
        for table in _each(subgraph.Tensors, subgraph.TensorsLength(), room)
    ]
    codes = _each(model.OperatorCodes, model.OperatorCodesLength(), room, _CODE)
    kinds = [(_operator_name(code), code.Version()) for code in codes]
    operators = [
        _operator(table, kinds, tensors, room)
        for table in _each(subgraph.Operators, subgraph.OperatorsLength(), room, _OPERATOR)
    ]
    graph = Graph(
        _tensors_at(_each(subgraph.Inputs, subgraph.InputsLength(), room), tensors),
        _tensors_at(_each(subgraph.Outputs, subgraph.OutputsLength(), room), tensors),
        tuple(operators),
        tuple(tensors),
    )
    return decode.decoded(graph, Room(len(content)).take)


def _each(get: Any, length: int, room: Room, size_bytes: int = _INT32) -> list[Any]:
    # This call comes first, so that a damaged length is refused before a list of that length is made.
    room.take(length * size_bytes)
    return [get(j) for j in range(length)]


def _tensor(
    table: Any, content: bytes, model: Any, stored: dict[int, memoryview], room: Room
) -> Tensor:
    room.table(table._tab.Pos, _TENSOR)
    shape = room.vector(table.ShapeAsNumpy())
    if len(shape) > _MAX_RANK or min(shape, default=0) < 0:
        raise ValueError(f"a tensor of shape {list(shape[: _MAX_RANK + 1])}")
    quantization = table.Quantization()
    scales, zero_points, axis = (), (), 0
    if quantization is not None:
        scales = room.vector(quantization.ScaleAsNumpy())
        zero_points = room.vector(quantization.ZeroPointAsNumpy())
        axis = quantization.QuantizedDimension()
    if len(zero_points) > 1 and not (0 <= axis < len(shape) and len(zero_points) == shape[axis]):
        raise ValueError(f"{len(zero_points)} zero points along axis {axis} of {list(shape)}")
    name = table.Name() or b""
    room.take(len(name))
    number = table.Buffer()
    if number not in stored:
        stored[number] = _data(number, content, model, room)
    return Tensor(
        name[:_MAX_NAME].decode("utf-8", "replace"),
        shape,
        _tensor_types()[table.Type()],
        number,
        stored[number],
        scales,
        zero_points,
        axis,
        table.Sparsity() is not None,
    )


def _data(number: int, content: bytes, model: Any, room: Room) -> memoryview:
    """The bytes of a buffer. They lie in the flatbuffer, or after it: ai-edge-quantizer puts large buffers there."""
    if number >= model.BuffersLength():
        raise ValueError(f"buffer {number} of {model.BuffersLength()}")
    buffer = model.Buffers(number)
    data = memoryview(b"")
    if buffer.DataLength():
        data = memoryview(buffer.DataAsNumpy())
    elif buffer.Offset() > 1 and buffer.Size():
        start, end = buffer.Offset(), buffer.Offset() + buffer.Size()
        if end > len(content):
            raise ValueError(f"buffer {number} at bytes {start} to {end} of {len(content)}")
        data = memoryview(content)[start:end]
    room.take(len(data))
    return data


def _operator(
    table: Any, kinds: list[tuple[str, int]], tensors: list[Tensor], room: Room
) -> Operator:
    places = _each(table.Inputs, table.InputsLength(), room)
    inputs = tuple(None if p == -1 else _tensors_at([p], tensors)[0] for p in places)
    outputs = _tensors_at(_each(table.Outputs, table.OutputsLength(), room), tensors)
    name, version = kinds[table.OpcodeIndex()]
    return Operator(name, inputs, outputs, macs(name, inputs, outputs), version)


def _operator_name(code: Any) -> str:
    # Old files store the operator code in the deprecated one-byte field, new files in the other: the larger one counts.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    if code.CustomCode() == decode.NAME.encode():
        return decode.NAME
    return _operator_types().get(number, f"operator {number}")


def _tensors_at(places: list[int], tensors: list[Tensor]) -> tuple[Tensor, ...]:
    if any(p < 0 for p in places):
        raise ValueError(f"a tensor at place {min(places)}")
    return tuple(tensors[p] for p in places)


@cache
def _tensor_types() -> dict[int, str]:
    return _numbered(backend.tflite_schema().TensorType)


@cache
def _operator_types() -> dict[int, str]:
    return {k: v.upper() for k, v in _numbered(backend.tflite_schema().BuiltinOperator).items()}


def _numbered(enumeration: Any) -> dict[int, str]:
    return {v: k.lower() for k, v in vars(enumeration).items() if k.isupper()}
