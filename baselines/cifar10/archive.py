"""The official CIFAR-10 archives, read in memory: nothing is unpacked to disk."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from baselines.cifar10.batches import check_sizes, join
from baselines.cifar10.spec import Arrays, Counts, Files
from compress.data.cifar_batches import BINARY, PYTHON, Layout

OFFICIAL = {
    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce": "cifar-10-python.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd": "cifar-10-binary.tar.gz",
}
MAX_UNPACKED = 400_000_000  # bytes; the official archives unpack to 190 million


def open_archive(path: Path, counts: Counts) -> Files:
    """The batches in a `.tar.gz`. Archives that are not official are read too, with a remark."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    remark = (
        ""
        if digest in OFFICIAL
        else f"{path} is not an official archive (SHA-256 {digest}), but holds the same number of images of each class."
    )

    def read(part: str, count: int) -> Arrays:
        layout, batches = _batches(path)
        sizes = {name: len(content) for name, content in batches.items()}
        check_sizes(layout, sizes, counts, f"{path}/{layout.folder}")
        names: Sequence[str] = getattr(layout, part)
        return join(layout, [batches[name] for name in names], names, count, str(path))

    return Files(
        train=lambda: read("train", counts.train),
        test=lambda: read("test", counts.test),
        remark=remark,
    )


def _batches(path: Path) -> tuple[Layout, dict[str, bytes]]:
    """The layout of an archive and its batches by name."""
    batches_of: dict[Layout, dict[str, bytes]] = {BINARY: {}, PYTHON: {}}
    try:
        with (
            gzip.open(path) as unpacked,
            tarfile.open(fileobj=_Capped(unpacked, MAX_UNPACKED, path), mode="r|") as tar,  # type: ignore[call-overload]
        ):
            for member in tar:
                place = PurePosixPath(member.name)
                for layout, batches in batches_of.items():
                    wanted = place.name in [*layout.train, *layout.test]
                    if wanted and place.parent.name == layout.folder and member.isreg():
                        if member.issparse():  # its zeros are not in the stream that is capped
                            raise ValueError(
                                f"{path}: {place.name} is stored as a sparse file; not CIFAR-10: get it again."
                            )
                        batches[place.name] = tar.extractfile(member).read()
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: not a whole .tar.gz archive ({error}): get it again.") from error
    layout = max(batches_of, key=lambda each: len(batches_of[each]))
    return layout, batches_of[layout]


class _Capped:
    """Reads a stream up to a limit, so that a small archive cannot unpack to an unlimited size."""

    def __init__(self, stream: gzip.GzipFile, limit: int, path: Path) -> None:
        self._stream, self._left, self._path = stream, limit, path

    def read(self, size: int) -> bytes:
        content = self._stream.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise ValueError(
                f"{self._path}: unpacks to more than {MAX_UNPACKED:,} bytes; not CIFAR-10."
            )
        return content
