"""Find CIFAR-10 on this machine, download it, or fall back to the bundled sample; then split it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from baselines.cifar10.archive import OFFICIAL
from baselines.cifar10.formats import open_copy
from baselines.cifar10.sample import COUNTS, FOLDER, open_sample
from baselines.cifar10.spec import CLASSES, FULL, Counts, Files
from baselines.download import Remote, fetch
from compress.data.dataset import Dataset, Split
from compress.data.splits import content_order, split_by_class

VALIDATION_FRACTION = 0.15
ARCHIVE = Remote(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    sha256=next(digest for digest, name in OFFICIAL.items() if "python" in name),
    size_bytes=170_498_071,
)


def load(
    path: Path | None,
    note: Callable[[str], None],
    counts: Counts = FULL,
    archive: Remote = ARCHIVE,
) -> Dataset:
    """Load CIFAR-10, or its bundled sample, with the same split for everyone.

    The data come from the first of: `path`, the place that CIFAR10_DIR names, Keras's download folder, the cache of
    this toolkit, a download, the sample. A missing or damaged copy is an error if the user named it, else skipped.

    Args:
      note: receives one sentence about the copy that is used, unless the user named it and it is as published.
      counts, archive: describe the full data; tests give smaller ones.
    """
    variable = os.environ.get("CIFAR10_DIR")
    named = path or (Path(variable) if variable else None)
    if named is not None:
        try:
            files = open_copy(named, counts)
            data = _dataset(files, "cifar10")
        except (OSError, ValueError) as error:
            if path:
                raise
            raise ValueError(f"{error} The environment variable CIFAR10_DIR names it.") from error
        if files.remark:
            note(files.remark)
        return data
    reasons = []
    for place in _places():
        try:
            if place.exists():
                return _found(place, note, counts)
        except (OSError, ValueError) as error:
            reasons.append(str(error).rstrip("."))
    try:
        return _found(_download(archive, note), note, counts)
    except (OSError, ValueError) as error:
        reasons.append(str(error).rstrip("."))
    note(
        f"using the bundled sample of CIFAR-10 ({COUNTS.train:,} training and {COUNTS.test:,} test images), "
        f"because the full data were not found ({'; '.join(reasons)}); give them with --data."
    )
    return replace(_dataset(open_sample(), "cifar10-sample"), provisional=not _offline())


def sources(path: Path | None) -> list[Path] | None:
    """The files and folders that `load(path)` depends on; None if it would try a download.

    It may also try one if a place is damaged. If this fails, the sample that `load` gives is provisional.
    """
    variable = os.environ.get("CIFAR10_DIR")
    named = path or (Path(variable) if variable else None)
    if named is not None:
        return [named]
    places = _places()
    if _offline():
        return [*places, FOLDER]
    return places if any(map(os.path.exists, places)) else None


def _found(place: Path, note: Callable[[str], None], counts: Counts) -> Dataset:
    files = open_copy(place, counts)
    data = _dataset(files, "cifar10")
    note(" ".join([f"reading CIFAR-10 from {place}.", files.remark]).strip())
    return data


def _places() -> list[Path]:
    """The places where Keras 2 and 3 store CIFAR-10, then the place where `_download` stores it."""
    keras = Path(os.environ.get("KERAS_HOME") or _home() / ".keras") / "datasets"
    names = (
        "cifar-10-batches-py-target/cifar-10-batches-py",
        "cifar-10-batches-py",
        "cifar-10-batches-py-target_archive",
        "cifar-10-batches-py.tar.gz",
        "cifar-10-python.tar.gz",
    )
    return [*(keras / name for name in names), _cached()]


def _cached() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "")
    if not folder.is_absolute():  # as the XDG specification requires
        folder = _home() / ".cache"
    return folder / "compress" / "cifar-10-python.tar.gz"


def _home() -> Path:
    """The user's home folder. Without one: a path where nothing is found and nothing can be written."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(os.devnull)


def _download(archive: Remote, note: Callable[[str], None]) -> Path:
    if _offline():
        raise OSError("COMPRESS_OFFLINE forbids the download")
    return fetch(archive, _cached(), note)


def _offline() -> bool:
    return os.environ.get("COMPRESS_OFFLINE", "0") not in ("", "0")


def _dataset(files: Files, name: str) -> Dataset:
    """Split the training images; leave the test images unread until they are asked for."""
    train, validation = split_by_class(*files.train(), VALIDATION_FRACTION)

    def open_test() -> Split:
        images, labels = files.test()
        order = content_order(images, labels, seed=0)
        return Split(images[order], labels[order].astype("int64"))

    return Dataset(name, CLASSES, train, validation, open_test)
