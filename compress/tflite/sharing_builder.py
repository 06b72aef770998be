"""A flatbuffer builder that stores equal vectors, texts and tables once."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np

# Required by the schema of `.tflite` files for the data of a buffer: runtimes read it with vector instructions.
BUFFER_ALIGNMENT = 16


class SharingBuilder(flatbuffers.Builder):
    """A builder for the schema classes. Their `Pack` writes each distinct part once, and then refers to it again.

    Two tables are equal if all their numbers and all parts that they refer to are equal. The result is a valid
    flatbuffer, in which several offsets may lead to the same part.
    """

    def __init__(self, size_bytes: int = 1024) -> None:
        flatbuffers.Builder.__init__(self, size_bytes)
        self._shared: dict[Any, int] = {}
        self._fields: list[Any] = []

    def CreateNumpyVector(self, x: np.ndarray) -> int:
        return self._vector(x, x.dtype.alignment)

    def CreateBuffer(self, data: np.ndarray) -> int:
        """A vector of bytes that begins at a multiple of `BUFFER_ALIGNMENT`."""
        return self._vector(data, BUFFER_ALIGNMENT)

    def CreateString(self, s: bytes | str, encoding: str = "utf-8", errors: str = "strict") -> int:
        key = ("text", s)
        if key not in self._shared:
            self._shared[key] = flatbuffers.Builder.CreateString(self, s, encoding, errors)
        return self._shared[key]

    def StartObject(self, numfields: int) -> None:
        self._fields = []
        flatbuffers.Builder.StartObject(self, numfields)

    def PrependSlot(self, flags: Any, o: int, x: Any, d: Any) -> None:
        if x != d:
            self._fields.append((o, flags.__name__, repr(x)))  # repr tells -0.0 from 0.0
        flatbuffers.Builder.PrependSlot(self, flags, o, x, d)

    def PrependUOffsetTRelativeSlot(self, o: int, x: int, d: int) -> None:
        if x != d:
            self._fields.append((o, "offset", x))
        flatbuffers.Builder.PrependUOffsetTRelativeSlot(self, o, x, d)

    def EndObject(self) -> int:
        key = ("table", *self._fields)
        if key in self._shared:
            # Discard the bytes of this table that are already written.
            self.head = len(self.Bytes) - self.objectEnd
            self.nested, self.current_vtable = False, None
            return self._shared[key]
        self._shared[key] = int(flatbuffers.Builder.EndObject(self))
        return self._shared[key]

    def _vector(self, x: np.ndarray, alignment: int) -> int:
        content = x.astype(x.dtype.newbyteorder("<"), copy=False).tobytes()
        key = ("vector", x.itemsize, alignment, content)
        if key not in self._shared:
            self.StartVector(x.itemsize, x.size, alignment)
            self.head -= len(content)
            self.Bytes[self.head : self.head + len(content)] = content
            self._shared[key] = int(self.EndVector())
        return self._shared[key]
