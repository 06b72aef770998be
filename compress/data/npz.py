"""Arrays out of untrusted `.npz` files: headers first, never a pickle, never more room than the header promised."""

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
# What is in a file may be this many times as long as the file; photographs are at most twice. So much it may always be.
MAX_RATIO, ALWAYS_BYTES = 100, 2**28
# What numpy lets through of a header that is no Python literal, or not of an array.
NO_HEADER = (tokenize.TokenError, SyntaxError, TypeError, MemoryError, RecursionError)


def headers(path: Path) -> dict[str, Header]:
    """Name -> shape and type of every array in the file, none of which is read. ValueError if it is no `.npz`."""
    found = {}
    regular(path)
    with _opened(path) as archive:
        for member in archive.namelist():
            if not member.endswith(".npy"):
                continue
            with archive.open(member) as file:
                found[member.removesuffix(".npy")] = _header(file)
    return found


def array(path: Path, name: str) -> np.ndarray:
    """The array `name`, as long as its header said. Look at `headers` first: this makes room for it."""
    with _opened(path) as archive, archive.open(f"{name}.npy") as file:
        _header(file)
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive; what is wrong with it while it is read is a ValueError that names it."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_size(archive, path.stat().st_size)
            yield archive
    except (*DAMAGED, OSError) as error:
        # A place that cannot be in a file has EINVAL, and bytes that bz2 never wrote have none; others are of the disk.
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
    """The header that begins here; ValueError if there is none that is at most 64 KiB long."""
    if np.lib.format.read_magic(file) != (1, 0):  # numpy writes longer ones for records alone
        raise ValueError("an array has a header of another version than 1.0")
    try:
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    except NO_HEADER as error:
        raise ValueError("an array has a header that describes none") from error
    return shape, dtype
