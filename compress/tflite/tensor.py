"""One tensor of a `.tflite` file: the values as stored, and the numbers that they represent."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_DTYPES = {
    "float32": "<f4",
    "float16": "<f2",
    "int8": "i1",
    "uint8": "u1",
    "int16": "<i2",
    "int32": "<i4",
    "int64": "<i8",
}
_PACKED_BITS = {"int4": 4, "int2": 2}


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of the main subgraph. Two tensors are equal only if they are the same object."""

    name: str
    shape: tuple[int, ...]
    dtype: str  # "float32", "int8", "int4"
    buffer: int
    data: memoryview  # as stored; empty if the file does not store it
    scales: tuple[float, ...]  # none, one, or one per channel
    zero_points: tuple[int, ...]
    axis: int  # axis of the channels that have the scales and zero points
    sparse: bool  # stored in TFLite's sparse encoding
    # Buffers that hold the tensor encoded for TFLM's DECODE. `data` is then the decoded tensor.
    encoded_in: tuple[int, ...] = ()
    encoded_bytes: int = 0  # size of these buffers

    @property
    def stored_bytes(self) -> int:
        """Number of bytes of the file that hold the tensor's values."""
        return self.encoded_bytes if self.encoded_in else len(self.data)

    def values(self) -> np.ndarray:
        """The stored values in the tensor's shape. ValueError if the number of bytes does not fit the shape."""
        if self.sparse:
            raise ValueError(
                f"tensor {self.name!r} is stored in TFLite's sparse encoding, which is not supported: "
                "export the model without it."
            )
        return unpack(self.data, self.dtype, self.shape)

    def centred(self) -> np.ndarray:
        """The stored values minus the zero point, so that a zero weight is 0: int64 or float32."""
        values = self.values()
        if values.dtype.kind == "f":
            return values.astype(np.float32)
        values = values.astype(np.int64)
        if len(self.zero_points) < 2:
            return values - sum(self.zero_points)
        along = [1] * values.ndim
        along[self.axis] = -1
        return values - np.array(self.zero_points, np.int64).reshape(along)


def unpack(data: bytes | memoryview, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Decode stored bytes. 4- and 2-bit integers are packed into bytes, the first in the lowest bits.

    >>> unpack(bytes([0x2F, 0x08]), "int4", (3,)).tolist()
    [-1, 2, -8]
    """
    bits = _PACKED_BITS.get(dtype) or 8 * np.dtype(_dtype(dtype)).itemsize
    size = math.prod(shape)
    if len(data) != (size * bits + 7) // 8:
        raise ValueError(
            f"this is not a readable TFLite file: {len(data)} bytes are stored "
            f"for {dtype} numbers of shape {list(shape)}."
        )
    if dtype not in _PACKED_BITS:
        return np.frombuffer(data, _DTYPES[dtype]).reshape(shape)
    fields = np.frombuffer(data, np.uint8)[:, None] >> np.arange(0, 8, bits, dtype=np.uint8)
    codes = (fields & (2**bits - 1)).reshape(-1)[:size].astype(np.int8)
    return np.where(codes < 2 ** (bits - 1), codes, codes - 2**bits).astype(np.int8).reshape(shape)


def _dtype(name: str) -> str:
    if name not in _DTYPES:
        raise ValueError(f"weights stored as {name} are not supported.")
    return _DTYPES[name]
