"""A cache of the digests of data and model files, so that a reused run need not load these files."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from compress.data.dataset import DataDigests
from compress.files import digest, write_json
from compress.input_file import regular

NAME = ".index.json"
MAX_BYTES = 5_000_000
MAX_ENTRIES = 2_000  # the oldest are dropped first
MAX_FILES = 200_000  # files and folders whose state is read

Known = TypeVar("Known", "KnownData", "KnownModel")


@dataclass(frozen=True)
class KnownData:
    """The result of loading data: its digests, the notes that loading printed, and the amount of training data."""

    digests: DataDigests
    notes: tuple[str, ...]
    train_pixels: int  # see `Split.pixels`


@dataclass(frozen=True)
class KnownModel:
    """The result of loading a model file for a task: its digest, its input scale and the notes that loading printed."""

    digest: str
    input_scale: float
    notes: tuple[str, ...]


class DigestIndex:
    """A JSON file in the folder of runs. It only saves time: a damaged or missing file is rebuilt."""

    def __init__(self, out: Path) -> None:
        self.path = out / NAME

    def data(self, key: str) -> KnownData | None:
        """The entry about data that `put` stored under `key`; None if there is none that can be read."""
        with contextlib.suppress(KeyError, TypeError, ValueError):
            value = self._entries()[key]
            digests = DataDigests(**value["digests"])
            return KnownData(digests, tuple(value["notes"]), int(value["train_pixels"]))
        return None

    def model(self, key: str) -> KnownModel | None:
        """The entry about a model that `put` stored under `key`; None if there is none that can be read."""
        with contextlib.suppress(KeyError, TypeError, ValueError):
            value = self._entries()[key]
            return KnownModel(
                str(value["digest"]), float(value["input_scale"]), tuple(value["notes"])
            )
        return None

    def put(self, key: str, known: KnownData | KnownModel) -> None:
        """Store an entry. If two processes write at once, one entry may be lost."""
        entries = self._entries()
        entries.pop(key, None)
        entries[key] = asdict(known)
        write_json(self.path, dict(list(entries.items())[-MAX_ENTRIES:]))

    def _entries(self) -> dict[str, Any]:
        try:
            if self.path.is_symlink() or regular(self.path).stat().st_size > MAX_BYTES:
                return {}
            entries = json.loads(self.path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return entries if isinstance(entries, dict) else {}


def files_key(sources: Sequence[Path], *parts: Any) -> str | None:
    """A digest of `parts` and of the file system state of all files and folders in `sources`.

    The state is path, device, inode, size and times of change; writing to a file changes one of them. None if there
    are more than MAX_FILES files and folders.
    """
    states: list[Any] = []
    for source in sources:
        for path in _files(source):
            if len(states) > MAX_FILES:
                return None
            states.append(_state(path))
    return digest({"files": states, "parts": list(parts)})


def _files(source: Path) -> Iterator[Path]:
    if not os.path.isdir(source):  # unlike Path.is_dir, False where access is denied
        yield source
        return
    for parent, folders, names in os.walk(source):
        folders.sort()
        yield Path(parent)
        yield from (Path(parent) / name for name in sorted(names))


def _state(path: Path) -> list[Any]:
    try:
        status = path.stat()
    except OSError:
        return [str(path.absolute()), None]
    changed = [status.st_mtime_ns, status.st_ctime_ns]
    return [str(path.absolute()), status.st_dev, status.st_ino, status.st_size, *changed]
