"""Read arrays from untrusted `.npz` files. Headers are read first and limit the memory. Pickles are never read."""

from __future__ import annotations

import contextlib
import errno
import lzma
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from compress.input_file import regular
from compress.text import printable

Header = tuple[tuple[int, ...], np.dtype]  # shape and type
DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, KeyError, NotImplementedError, RuntimeError, ValueError,
)  # fmt: skip
# Maximum unpacked bytes per byte of file; photographs need two. ALWAYS_BYTES are always allowed.
MAX_RATIO, ALWAYS_BYTES = 100, 2**28
# Exceptions that numpy does not catch if a header is not a Python literal or does not describe an array.
NO_HEADER = (tokenize.TokenError, SyntaxError, TypeError, MemoryError, RecursionError)


def headers(path: Path) -> dict[str, Header]:
    """Name -> shape and type of every array in the file; no array is read. ValueError if it is not an `.npz` file."""
    arrays = {}
    regular(path)
    with _opened(path) as archive:
        for member in archive.namelist():
            if not member.endswith(".npy"):
                continue
            with archive.open(member) as file:
                arrays[member.removesuffix(".npy")] = _header(file)
    return arrays


def array(path: Path, name: str) -> np.ndarray:
    """The array `name`. This allocates the memory that its header states, so check `headers` first."""
    with _opened(path) as archive, archive.open(f"{name}.npy") as file:
        _header(file)
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open the archive. Damage that is found during reading becomes a ValueError that names the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_size(archive, path.stat().st_size)
            yield archive
    except (*DAMAGED, OSError) as error:
        # An impossible offset gives EINVAL, damaged bz2 data no errno. Any other OSError comes from the disk.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        why = printable(" ".join(str(error).split()))
        raise ValueError(
            f"{path}: not a whole .npz file ({why:.200}); save it again with numpy.savez."
        ) from error


def _check_size(archive: zipfile.ZipFile, size_bytes: int) -> None:
    unpacked = sum(member.file_size for member in archive.infolist())
    most = max(MAX_RATIO * size_bytes, ALWAYS_BYTES)
    if unpacked > most:
        raise ValueError(f"it unpacks to {unpacked:,} bytes, expected at most {most:,}")


def _header(file: IO[bytes]) -> Header:
    """The header at the current position. ValueError if there is no valid one of at most 64 KiB."""
    # Other versions are longer, and numpy writes them only for record arrays.
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array has a header of another version than 1.0")
    try:
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    except NO_HEADER as error:
        raise ValueError("an array has a header that does not describe an array") from error
    return shape, dtype
