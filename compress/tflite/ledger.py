"""The size ledger of a `.tflite` file: what each byte is for, and how few bytes the same values could take."""

from __future__ import annotations

import gzip
import lzma
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import zstandard

from compress import backend
from compress.tflite import contents
from compress.tflite.contents import StoredTensor
from compress.tflite.flatbuffer import damage_as_sentence
from compress.tflite.layout import parts
from compress.tflite.model import TFLiteModel

KINDS = ("weights", "biases", "quantization", "graph", "names", "padding")
_KIND = {"kernel": "weights", "per channel": "weights", "bias": "biases"}  # by role


@dataclass(frozen=True, kw_only=True)
class TensorSize:
    """The number of values in one stored tensor, and the space that they take."""

    numbers: int
    nonzero: int
    distinct: int
    stored_bytes: int
    entropy_bits: float  # per value: entropy of the frequencies of values in the tensor

    @property
    def stored_bits(self) -> float:
        """Stored bits per value."""
        return 8 * self.stored_bytes / self.numbers if self.numbers else 0.0

    @property
    def entropy_bytes(self) -> float:
        """Lower bound for a code that codes each value separately, such as Huffman's, without its code table."""
        return self.numbers * self.entropy_bits / 8


def file_parts(model: TFLiteModel) -> dict[str, int]:
    """Each of `KINDS` -> number of bytes of the file that belong to it. They add up to the length of the file.

    "weights" and "biases" count only the values. "quantization" is scales and zero points with their tables. "graph" is
    operators, shapes and small constants. "names" is all strings and metadata. "padding" is the gaps between parts.

    Raises:
      ValueError: the file is damaged, or its parts together are longer than the file.
    """
    kinds = {
        buffer: _KIND[s.role]
        for s in reversed(contents.stored_in(model.graph))
        for buffer in s.tensor.encoded_in or (s.tensor.buffer,)
    }
    found = list(parts(model.content))
    kinds = dict.fromkeys(_metadata_buffers(model.content), "names") | kinds
    sizes = Counter(dict.fromkeys(KINDS, 0))
    for part in found:
        kind = kinds.get(part.buffer, "graph") if part.kind == "buffer" else part.kind
        sizes[kind] += part.end - part.start
    sizes["padding"] = len(model.content) - sum(sizes.values())
    return dict(sizes)


def _metadata_buffers(content: bytes) -> list[int]:
    with damage_as_sentence():
        model = backend.tflite_schema().Model.GetRootAs(content, 0)
        return [model.Metadata(number).Buffer() for number in range(model.MetadataLength())]


def tensor_size(stored: StoredTensor) -> TensorSize:
    """The `TensorSize` of a stored tensor."""
    values, counts = np.unique(stored.tensor.values(), return_counts=True)
    shares = counts / max(counts.sum(), 1)
    return TensorSize(
        numbers=int(counts.sum()),
        nonzero=contents.nonzero_params([stored]),
        distinct=len(values),
        stored_bytes=stored.tensor.stored_bytes,
        entropy_bits=float(abs((shares * np.log2(shares)).sum())),
    )


def coded_bytes(model: TFLiteModel, stored: Sequence[StoredTensor]) -> dict[str, int]:
    """Number of bytes that the file, or its stored values, could take if they were unpacked into RAM before use.

    "xz": the file after xz -9e. "entropy": lower bound for the weights and biases if each value is coded separately by
    its frequency in its tensor, as in Huffman coding, without the code tables.
    """
    bound = sum(tensor_size(s).entropy_bytes for s in stored)
    packed = lzma.compress(model.content, preset=9 | lzma.PRESET_EXTREME)
    return {"xz": len(packed), "entropy": int(np.ceil(bound))}


def weight_coding(stored: Sequence[StoredTensor]) -> dict[str, float]:
    """Bits per weight over all kernels, as stored and by entropy, and the most distinct weights that a kernel has."""
    sizes = [tensor_size(s) for s in stored if s.role == "kernel"]
    numbers = max(sum(size.numbers for size in sizes), 1)
    return {
        "stored_bits": 8 * sum(size.stored_bytes for size in sizes) / numbers,
        "entropy_bits": 8 * sum(size.entropy_bytes for size in sizes) / numbers,
        "most_distinct": max((size.distinct for size in sizes), default=0),
    }


def zstd_bytes(content: bytes) -> int:
    """Length in bytes after zstd at its highest level, 22, as one frame that states its content size."""
    return len(zstandard.ZstdCompressor(level=zstandard.MAX_COMPRESSION_LEVEL).compress(content))


def gzip_bytes(content: bytes) -> int:
    """Length in bytes after gzip -9, with a header without a file name."""
    return len(gzip.compress(content, 9, mtime=0))
