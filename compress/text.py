"""Text for people: printable text, sentences about unknown names, and sentences for errors."""

from __future__ import annotations

import difflib
from collections.abc import Collection


def printable(text: object) -> str:
    """The text with every unprintable character, such as a line end or a terminal control, turned into a space.

    >>> printable("a\\x1b[2Jb")
    'a [2Jb'
    """
    return "".join(c if c.isprintable() else " " for c in str(text))


def counted(number: float, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "epoch"), counted(2000, "epoch"), counted(0.5, "minute")
    ('1 epoch', '2,000 epochs', '0.5 minutes')
    """
    return f"{number:,g} {noun}{'s' * (number != 1)}"


def nearest(word: str, known: Collection[str]) -> str | None:
    """The known name nearest to `word`; None if none is near.

    >>> nearest("prun", ["cluster", "prune"]), nearest("xyz", ["prune"])
    ('prune', None)
    """
    return next(iter(difflib.get_close_matches(word, known, n=1)), None)


def no_such(kind: str, word: str, known: Collection[str], no: str = "no") -> str:
    """The sentence about an unknown name. It lists the known names and suggests the nearest.

    >>> no_such("stage", "prun", ["cluster", "prune"])
    "no stage 'prun'; stages here: cluster, prune. Did you mean 'prune'?"
    """
    near = nearest(word, known)
    hint = f" Did you mean {near!r}?" if near else ""
    return f"{no} {kind} {word!r}; {kind}s here: {', '.join(known)}.{hint}"


def sentence_of(error: OSError | ValueError) -> str:
    """The sentence that a user sees for an error. For an error of the system, it names the file and the reason.

    >>> sentence_of(FileNotFoundError(2, "No such file or directory", "model.keras"))
    'model.keras: No such file or directory.'
    """
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}."
    return str(error)
