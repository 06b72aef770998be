"""Text out of files, made fit to be shown: whatever a terminal would obey is taken out."""

from __future__ import annotations


def printable(text: object) -> str:
    """Text with what does not print, line ends and terminal controls too, turned into spaces.

    >>> printable("a\\x1b[2Jb")
    'a [2Jb'
    """
    return "".join(c if c.isprintable() else " " for c in str(text))
