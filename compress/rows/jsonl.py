"""The file of rows, as JSON lines: rows are appended to it and never edited."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from compress.input_file import regular
from compress.rows.result import Result

T = TypeVar("T")


class Row(Protocol):
    """A row of any kind."""

    def to_json(self) -> str:
        """The row as one line of JSON."""


def append_to(path: Path, result: Row) -> None:
    """Append one row, whole or not at all, even if another process appends at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = (result.to_json() + "\n").encode()
    with path.open("a+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        end = os.fstat(file.fileno()).st_size
        if end and os.pread(file.fileno(), 1, end - 1) != b"\n":
            line = b"\n" + line  # an editor may have removed the last line end
        try:
            if os.write(file.fileno(), line) != len(line):
                raise OSError(f"{path}: only part of a row could be written.")
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), end)
            raise


def read_from(path: Path) -> list[Result]:
    """All rows of results, oldest first. A ValueError names the line of a row that cannot be read."""
    return read_lines(path, Result.from_json)


def read_lines(path: Path, row_of: Callable[[bytes], T]) -> list[T]:
    """All rows of one kind, oldest first. A ValueError names the line of a row that cannot be read.

    Args:
      row_of: returns the row of a line, or raises ValueError.
    """
    rows = []
    for number, line in enumerate(regular(path).read_bytes().splitlines(), start=1):
        try:
            rows.append(row_of(line))
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{path}, line {number}: {str(error).rstrip('.')}; correct that line or take it out."
            ) from error
    return rows
