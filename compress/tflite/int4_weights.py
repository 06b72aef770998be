"""Store 8-bit weights of a `.tflite` file in 4 bits, if they are small enough."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from compress import backend
from compress.tflite.flatbuffer import MARK


def packed(codes: np.ndarray) -> np.ndarray:
    """Pack codes from -8 to 7 into uint8, two per byte, the first in the lower 4 bits.

    >>> packed(np.array([-1, 2, -8], np.int8)).tolist()
    [47, 8]
    """
    fields = np.append(codes.ravel(), np.zeros(codes.size % 2, np.int8)).astype(np.uint8) & 15
    return (fields[::2] | fields[1::2] << 4).astype(np.uint8)


def stored_in_int4(content: bytes, names: Collection[str]) -> bytes:
    """The same file with the named int8 tensors in int4: the same codes and scales in half the bytes.

    Raises:
      ValueError: a name is not that of an int8 constant, or its codes are not all from -8 to 7.
    """
    schema = backend.tflite_schema()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    tensors = [t for t in model.subgraphs[0].tensors if _name(t) in names]
    shared = {t.buffer for t in model.subgraphs[0].tensors if _name(t) not in names}
    if len(tensors) != len(set(names)):
        raise ValueError(
            f"the file has {len(tensors)} of the {len(set(names))} tensors {sorted(names)}."
        )
    done: dict[int, int] = {}
    for tensor in tensors:
        if tensor.buffer not in done:
            codes = np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(np.int8)
            if tensor.type != schema.TensorType.INT8 or not -8 <= codes.min() <= codes.max() <= 7:
                raise ValueError(f"tensor {_name(tensor)!r} does not fit into 4 bits.")
            buffer = schema.BufferT()
            buffer.data = packed(codes)
            if tensor.buffer in shared:
                model.buffers.append(buffer)
                done[tensor.buffer] = len(model.buffers) - 1
            else:
                model.buffers[tensor.buffer] = buffer
                done[tensor.buffer] = tensor.buffer
        tensor.type, tensor.buffer = schema.TensorType.INT4, done[tensor.buffer]
    builder = backend.flatbuffer_builder()(len(content))
    builder.Finish(model.Pack(builder), MARK)
    return bytes(builder.Output())


def _name(tensor: Any) -> str:
    return bytes(tensor.name or b"").decode("utf-8", "replace")
