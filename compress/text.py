"""Text for people: made fit to be shown, whatever a terminal would obey taken out, and names that are not known."""

from __future__ import annotations

import difflib
from collections.abc import Collection


def printable(text: object) -> str:
    """Text with what does not print, line ends and terminal controls too, turned into spaces.

    >>> printable("a\\x1b[2Jb")
    'a [2Jb'
    """
    return "".join(c if c.isprintable() else " " for c in str(text))


def nearest(word: str, known: Collection[str]) -> str | None:
    """The known name that a wrong one was probably meant to be.

    >>> nearest("prun", ["cluster", "prune"]), nearest("xyz", ["prune"])
    ('prune', None)
    """
    return next(iter(difflib.get_close_matches(word, known, n=1)), None)


def no_such(kind: str, word: str, known: Collection[str], no: str = "no") -> str:
    """The sentence about a name that is not known: which names are, and which of them is the nearest.

    >>> no_such("stage", "prun", ["cluster", "prune"])
    "no stage 'prun'; stages here: cluster, prune. Did you mean 'prune'?"
    """
    near = nearest(word, known)
    hint = f" Did you mean {near!r}?" if near else ""
    return f"{no} {kind} {word!r}; {kind}s here: {', '.join(known)}.{hint}"


def sentence_of(error: OSError | ValueError) -> str:
    """What a user is told of an error; of one about a file that is from the system, the file and what happened.

    >>> sentence_of(FileNotFoundError(2, "No such file or directory", "model.keras"))
    'model.keras: No such file or directory.'
    """
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}."
    return str(error)
