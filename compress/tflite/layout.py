"""Find every part of the flatbuffer in a `.tflite` file by following its offsets.

The file is untrusted: each part is visited once, and all parts together must not be longer than the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from compress.tflite.flatbuffer import Room, damage_as_sentence

Kind = Literal["graph", "quantization", "names", "buffer"]
# For each table of the schema: index of a field -> what the field refers to. A number means a vector with elements of
# that many bytes. "text" means a string. Any other word means a table; in brackets, a list of tables. Fields that are
# not listed lie within the table.
_TABLES: Mapping[str, Mapping[int, str | int]] = {
    "Model": {
        1: "[OperatorCode]",
        2: "[SubGraph]",
        3: "text",
        4: "[Buffer]",
        5: 4,
        6: "[Metadata]",
        7: "[SignatureDef]",
    },
    "OperatorCode": {1: "text"},
    "SubGraph": {0: "[Tensor]", 1: 4, 2: 4, 3: "[Operator]", 4: "text"},
    "Tensor": {0: 4, 3: "text", 4: "Quantization", 6: "Options", 7: 4},
    "Quantization": {0: 4, 1: 4, 2: 4, 3: 8, 5: "Options"},
    "Operator": {1: 4, 2: 4, 4: "Options", 5: 1, 7: 1, 8: 4, 12: "Options"},
    # The options of RESHAPE and SQUEEZE refer to a shape or axes. References in other options are not followed.
    "ListOptions": {0: 4},
    "Options": {},
    "Buffer": {0: 1},
    "Metadata": {0: "text"},
    "SignatureDef": {0: "[TensorMap]", 1: "[TensorMap]", 2: "text"},
    "TensorMap": {0: "text"},
}
_OPTIONS_TYPE, _LIST_OPTIONS = 3, {17, 30}  # field of an operator; values for RESHAPE, SQUEEZE


@dataclass(frozen=True)
class Part:
    """Bytes of a file that belong together."""

    start: int
    end: int
    kind: Kind
    buffer: int = -1  # number of the buffer, if the bytes are its data


def parts(content: bytes) -> Iterator[Part]:
    """Yield every part of a file once. Bytes that belong to no part are gaps.

    Raises:
      ValueError: the file is damaged, or its parts together are longer than the file.
    """
    with damage_as_sentence():
        yield Part(0, min(8, len(content)), "graph")
        yield from _Walk(content).table("Model", *_at(content, 0))


def _at(content: bytes, place: int) -> tuple[int]:
    """The target of the offset that is stored at a place."""
    (offset,) = struct.unpack_from("<I", content, place)
    return (place + offset,)


class _Walk:
    def __init__(self, content: bytes) -> None:
        self.content, self.room = content, Room(len(content))
        self.seen: set[tuple[str, int]] = set()

    def table(self, name: str, place: int, number: int = -1) -> Iterator[Part]:
        if self._known(name, place):
            return
        kind: Kind = "quantization" if name == "Quantization" else "graph"
        (to_fields,) = struct.unpack_from("<i", self.content, place)
        directory = place - to_fields
        if directory < 0:
            raise ValueError(f"the fields of a table at byte {directory}")
        size, length = struct.unpack_from("<HH", self.content, directory)
        # Two kinds of tables may share the same bytes if they are equal, and may share a directory of fields.
        if not self._known("table", place):
            yield self._part(place, length, kind)
        if not self._known("fields", directory):
            yield self._part(directory, size, "graph")
        field_places = {
            field: place + offset
            for field in range((size - 4) // 2)
            if (offset := struct.unpack_from("<H", self.content, directory + 4 + 2 * field)[0])
        }
        for field, what in _TABLES[name].items():
            if field in field_places:
                if name == "Operator" and field == 4 and self._has_list(field_places):
                    what = "ListOptions"
                (target,) = _at(self.content, field_places[field])
                yield from self._target(what, target, kind, number)
        if name == "Buffer" and {1, 2} <= field_places.keys() and 0 not in field_places:
            offset, length = (
                struct.unpack_from("<Q", self.content, field_places[f])[0] for f in (1, 2)
            )
            if offset > 1:
                yield self._part(offset, length, "buffer", number)

    def _has_list(self, field_places: Mapping[int, int]) -> bool:
        place = field_places.get(_OPTIONS_TYPE)
        return place is not None and self.content[place] in _LIST_OPTIONS

    def _target(self, what: str | int, place: int, kind: Kind, number: int) -> Iterator[Part]:
        if isinstance(what, str) and what[0] not in "[t":
            yield from self.table(what, place)
            return
        if self._known(str(what), place):
            return
        (length,) = struct.unpack_from("<I", self.content, place)
        if isinstance(what, int):
            kind = "buffer" if number >= 0 else kind
            yield self._part(place, 4, "graph" if kind == "buffer" else kind)
            yield self._part(place + 4, length * what, kind, number)
        elif what == "text":
            yield self._part(place, 4 + length + 1, "names")
        else:
            yield self._part(place, 4 + 4 * length, "graph")
            for entry in range(length):
                numbered = entry if what == "[Buffer]" else -1
                yield from self.table(
                    what[1:-1], *_at(self.content, place + 4 + 4 * entry), numbered
                )

    def _known(self, what: str, place: int) -> bool:
        known = (what, place) in self.seen
        self.seen.add((what, place))
        return known

    def _part(self, start: int, length: int, kind: Kind, number: int = -1) -> Part:
        if start + length > len(self.content):
            raise ValueError(f"a part at bytes {start} to {start + length}")
        self.room.take(length)
        return Part(start, start + length, kind, number)
