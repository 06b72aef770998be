"""TFLiteModel: the content of a .tflite file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from compress.files import write_bytes
from compress.tflite.flatbuffer import read
from compress.tflite.graph import Graph


@dataclass(frozen=True)
class TFLiteModel:
    """The content of a `.tflite` file."""

    format: ClassVar = "tflite"
    content: bytes
    notes: tuple[str, ...] = field(default=(), compare=False)  # from the export, one sentence each

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file, in hex."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def graph(self) -> Graph:
        """The main subgraph, parsed once. ValueError if the content is damaged."""
        return read(self.content)

    def save(self, path: Path) -> None:
        """Write the complete file, or leave `path` unchanged."""
        write_bytes(path, self.content)

    @classmethod
    def load(cls, path: Path) -> TFLiteModel:
        """Read a `.tflite` file.

        Raises:
          ValueError: the file has no TFL3 mark.
        """
        content = path.read_bytes()
        if content[4:8] != b"TFL3":
            raise ValueError(f"{path} is not a TFLite file (no TFL3 mark at byte 4).")
        return cls(content)
