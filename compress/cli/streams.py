"""Standard streams that may be closed: the run continues, and output that nobody reads is lost."""

from __future__ import annotations

import io
import os
import sys
import traceback
import warnings
from types import TracebackType
from typing import Any, TextIO

from compress.cli.console import tell


def prepare() -> None:
    """Make the streams of this process safe to write to, and pass warnings and tracebacks through `console.tell`."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Otherwise the next opened file gets this number, and native code writes its messages into it.
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    raw = _LossyStream(2, "w", closefd=False)
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(sys.stderr, "encoding", "utf-8"),
        errors="backslashreplace",
        line_buffering=True,
    )
    sys.excepthook = _show_exception
    warnings.showwarning = _show_warning


class _LossyStream(io.FileIO):
    """A raw stream that discards what it cannot write, such as output to a closed pipe."""

    def write(self, content: Any) -> int:
        try:
            return io.FileIO.write(self, content)
        except OSError:
            return len(content)


def _show_exception(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    tell(*"".join(traceback.format_exception(kind, error, trace)).splitlines())


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    tell(*warnings.formatwarning(message, category, filename, lineno, line).splitlines())
