"""Atomic writes, locks, checks against links, and content digests."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from compress.input_file import regular


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`. The file written there replaces `path` completely, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        # The error of a full disk has no file name, and the temporary name would not help the user.
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` completely, or leave `path` unchanged."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path` completely, or leave `path` unchanged."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def open_lock(path: Path) -> IO[bytes]:
    """Open the file to lock; create it if missing, and keep its content. ValueError if it is a link or a pipe."""
    check_own(path)
    # In case the file is replaced after the check: do not follow a link, do not wait for a pipe.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    return os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)


def check_own(path: Path) -> None:
    """Raise ValueError if `path` or anything below it is a link or a pipe, which would lead out of the run folder."""
    below = (
        Path(parent) / name
        for parent, folders, files in os.walk(path)
        for name in (*folders, *files)
    )
    for each in (path, *below):
        try:
            mode = each.lstat().st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            is_no = "a link" if stat.S_ISLNK(mode) else "not a regular file"
            raise ValueError(
                f"{each} is {is_no}, and a run folder may hold only files and folders: delete it, or use another --out."
            )


def empty(folder: Path, but: str) -> None:
    """Delete the content of a folder, except the file called `but`. The targets of links are not deleted."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != but:
            path.unlink()


def digest(value: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of a JSON value; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def sha256(path: Path) -> str:
    """SHA-256, in hex, of a file's content."""
    with regular(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
