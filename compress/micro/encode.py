"""A `.tflite` file whose weights TFLM decodes as it runs: smaller if it has many zeros or repeated values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from compress import backend
from compress.tflite import contents, decode
from compress.tflite.decode import Coding, Encoded
from compress.tflite.flatbuffer import MARK, damage_as_sentence, read
from compress.tflite.sharing_builder import SharingBuilder
from compress.tflite.slim import buffers_with_data, check_rewritable


def encoded(content: bytes, codings: tuple[Coding, ...]) -> tuple[bytes, dict[int, Coding]]:
    """The smallest file that encodes kernels by these codings, and place of each encoded tensor -> its coding.

    Each kernel takes its shortest coding, if this makes the file smaller. If no kernel makes the file smaller, the file
    is returned unchanged.

    Raises:
      ValueError: the file is damaged, is encoded already, or holds what this release cannot write again.
    """
    graph = read(content)
    if graph.encoded:
        raise ValueError("the weights of this TFLite file are encoded already.")
    chosen: dict[int, Encoded] = {}
    smallest = content
    for place, values, axis in _kernels(content):
        shortest = min(
            _forms(values, axis, codings), key=lambda form: form.size_bytes, default=None
        )
        if shortest is None or shortest.size_bytes >= values.size:
            continue
        tried = _rewritten(content, {**chosen, place: shortest})
        if len(tried) < len(smallest):
            chosen[place], smallest = shortest, tried
    return smallest, {place: form.coding for place, form in chosen.items()}


def _kernels(content: bytes) -> Iterator[tuple[int, np.ndarray, int | None]]:
    """Place in the file, values and axis of the scales of each int8 kernel that only one operator uses."""
    graph = read(content)
    users = [tensor for operator in graph.operators for tensor in operator.inputs if tensor]
    for stored in contents.stored_in(graph):
        tensor = stored.tensor
        plain = tensor.dtype == "int8" and not any(tensor.zero_points) and not tensor.sparse
        alone = sum(other.buffer == tensor.buffer for other in users) == 1
        if stored.role == "kernel" and plain and alone:
            yield (
                graph.tensors.index(tensor),
                tensor.values(),
                tensor.axis if len(tensor.scales) > 1 else None,
            )


def _forms(values: np.ndarray, axis: int | None, codings: tuple[Coding, ...]) -> Iterator[Encoded]:
    if "bitmap" in codings:
        yield decode.as_bitmap(values)
    # TFLM looks up tables only along the first or the last axis.
    if "table" in codings and axis in (None, 0, values.ndim - 1):
        table = decode.as_table(values, axis)
        if table is not None:
            yield table


def _rewritten(content: bytes, encodings: Mapping[int, Encoded]) -> bytes:
    schema = backend.tflite_schema()
    with damage_as_sentence():
        model = schema.ModelT.InitFromPackedBuf(content)
        check_rewritable(model)
        graph = model.subgraphs[0]
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode, code.version = decode.NAME.encode(), 1
        model.operatorCodes.append(code)
        for place, form in encodings.items():
            _insert(model, graph, place, form, len(model.operatorCodes) - 1)
        builder = SharingBuilder(len(content))
        model.buffers = buffers_with_data(model, content)
        builder.Finish(model.Pack(builder), MARK)
        return bytes(builder.Output())


def _insert(model: Any, graph: Any, place: int, form: Encoded, code: int) -> None:
    """Insert a DECODE before the only operator that uses the tensor at `place`, where the encoded bytes then are."""
    schema = backend.tflite_schema()
    plain = graph.tensors[place]
    output = schema.TensorT()
    output.shape, output.type, output.quantization = plain.shape, plain.type, plain.quantization
    output.hasRank = plain.hasRank
    graph.tensors[place] = _bytes_of(model, form.data)
    ancillary, result = len(graph.tensors), len(graph.tensors) + 1
    graph.tensors += [_bytes_of(model, form.ancillary), output]
    user = next(n for n, o in enumerate(graph.operators) if place in o.inputs)
    graph.operators[user].inputs = [
        result if t == place else t for t in graph.operators[user].inputs
    ]
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, [place, ancillary], [result]
    graph.operators.insert(user, operator)


def _bytes_of(model: Any, data: bytes) -> Any:
    schema = backend.tflite_schema()
    tensor, buffer = schema.TensorT(), schema.BufferT()
    buffer.data = np.frombuffer(data, np.uint8)
    model.buffers.append(buffer)
    tensor.shape, tensor.type = np.array([len(data)], np.int32), schema.TensorType.UINT8
    tensor.buffer = len(model.buffers) - 1
    return tensor
