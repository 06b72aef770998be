"""Rewrite a `.tflite` file without the data that no runtime reads, and with equal parts stored once.

The new file computes the same. It lacks the names of tensors except inputs and outputs, names of subgraphs, recorded
ranges, descriptions and the converter's metadata. Every buffer begins at a multiple of 16 bytes. The order of tensors
and operators is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from compress import backend
from compress.tflite.flatbuffer import MARK, damage_as_sentence
from compress.tflite.sharing_builder import SharingBuilder

# Metadata that the converter writes for people. Other entries stay, because a runtime may read them.
_FOR_PEOPLE = {b"min_runtime_version", b"CONVERSION_METADATA"}


def slim(content: bytes, *, int4_bias_scales: bool = True) -> bytes:
    """Rewrite the file in fewer bytes. The result is deterministic, and a slim file stays the same.

    Args:
      int4_bias_scales: keep the bias scales of CONV_2D with int4 weights; LiteRT computes them from other scales. All
        other bias scales are kept: int8 convolutions need them to run on XNNPACK, and FULLY_CONNECTED checks them.

    Raises:
      ValueError: the file is damaged, or holds data that this release cannot write.
    """
    with damage_as_sentence():
        model = backend.tflite_schema().ModelT.InitFromPackedBuf(content)
        check_rewritable(model)
        model.description = None
        if not int4_bias_scales:
            _drop_int4_bias_scales(model)
        kept = [entry for entry in model.metadata or [] if entry.name not in _FOR_PEOPLE]
        model.metadata = kept or None
        signed = {signature.subgraphIndex for signature in model.signatureDefs or []}
        for number, graph in enumerate(model.subgraphs or []):
            graph.name = None
            _slim_tensors(graph, named=number == 0 or number in signed)
        model.buffers = buffers_with_data(model, content)
        builder = SharingBuilder(len(content))
        builder.Finish(model.Pack(builder), MARK)
        return bytes(builder.Output())


def check_rewritable(model: Any) -> None:
    """Raise ValueError if a file holds data that the schema classes would not write again."""
    operators = [operator for graph in model.subgraphs or [] for operator in graph.operators or []]
    unions = [(o.builtinOptionsType, o.builtinOptions) for o in operators]
    unions += [(o.builtinOptions2Type, o.builtinOptions2) for o in operators]
    quantizations = [tensor.quantization for tensor in _tensors(model)]
    unions += [(q.detailsType, q.details) for q in quantizations if q]
    if any(kind and value is None for kind, value in unions):
        raise ValueError("it has options of a later release of TFLite")
    if any(operator.largeCustomOptionsOffset for operator in operators):
        raise ValueError("it has options that lie behind the flatbuffer")
    if model.externalBuffers or model.externalBufferGroups:
        raise ValueError("it has weights in other files")


def _tensors(model: Any) -> Iterator[Any]:
    for graph in model.subgraphs or []:
        yield from graph.tensors or []


def _slim_tensors(graph: Any, named: bool) -> None:
    ends = {int(place) for places in (graph.inputs, graph.outputs) for place in _numbers(places)}
    for place, tensor in enumerate(graph.tensors or []):
        if not (named and place in ends):
            tensor.name = None
        if np.array_equal(_numbers(tensor.shapeSignature), _numbers(tensor.shape)):
            tensor.shapeSignature = None
        if (found := tensor.quantization) is not None:
            found.min = found.max = None
            if not len(_numbers(found.scale)) + len(_numbers(found.zeroPoint)) + found.detailsType:
                tensor.quantization = None


def _drop_int4_bias_scales(model: Any) -> None:
    schema = backend.tflite_schema()
    convolutions = {
        number
        for number, code in enumerate(model.operatorCodes or [])
        if max(code.builtinCode, code.deprecatedBuiltinCode) == schema.BuiltinOperator.CONV_2D
    }
    for graph in model.subgraphs or []:
        for operator in graph.operators or []:
            if operator.opcodeIndex in convolutions and len(operator.inputs) == 3:
                weights, bias = operator.inputs[1:]
                if bias >= 0 and graph.tensors[weights].type == schema.TensorType.INT4:
                    graph.tensors[bias].quantization = None


class _Data:
    """A buffer with its data, aligned. The schema's own class would not align the data."""

    def __init__(self, data: np.ndarray | None) -> None:
        self.data = data

    def Pack(self, builder: SharingBuilder) -> Any:
        schema = backend.tflite_schema()
        place = None if self.data is None else builder.CreateBuffer(self.data)
        schema.BufferStart(builder)
        if place is not None:
            schema.BufferAddData(builder, place)
        return schema.BufferEnd(builder)


def buffers_with_data(model: Any, content: bytes) -> list[Any]:
    """The used buffers: buffer 0 without data, then each distinct buffer with data. Users get the new numbers."""
    data = [_data(buffer, content) for buffer in model.buffers or []]
    kept = [_Data(None)]
    numbers: dict[bytes, int] = {}
    for user in (*_tensors(model), *(model.metadata or [])):
        if (found := data[user.buffer]) is None:
            user.buffer = 0
            continue
        key = found.tobytes()
        if key not in numbers:
            numbers[key] = len(kept)
            kept.append(_Data(found))
        user.buffer = numbers[key]
    model.metadataBuffer = None  # old files list metadata here, without names
    return kept


def _data(buffer: Any, content: bytes) -> np.ndarray | None:
    """The data of a buffer as bytes, from the flatbuffer or from after it; None if the buffer has no data."""
    if buffer.data is not None and (len(buffer.data) or buffer.offset <= 1):
        return np.asarray(buffer.data, np.uint8)
    if buffer.offset <= 1 or not buffer.size:
        return None
    if buffer.offset + buffer.size > len(content):
        raise ValueError(f"a buffer at bytes {buffer.offset} to {buffer.offset + buffer.size}")
    return np.frombuffer(content, np.uint8, buffer.size, buffer.offset)


def _numbers(vector: Any) -> Any:
    return () if vector is None else vector
