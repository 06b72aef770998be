"""Read the official CIFAR-10 batches in a folder, binary or Python: `data_batch_1` to `_5` and `test_batch`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.data.dataset import Split
from compress.data.image_file import MAX_BYTES
from compress.data.safe_pickle import load_dict

BATCHES = 5
CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
SIDE = 32  # pixels
PIXELS = SIDE * SIDE * 3  # bytes per image
RECORD = 1 + PIXELS  # bytes: the label, then the red, green and blue plane, row by row

Arrays = tuple[np.ndarray, np.ndarray]  # images uint8 [n, 32, 32, 3], labels [n]


def binary_batch(content: bytes, records: int | None, where: str) -> Arrays:
    """Images uint8 [records, 32, 32, 3] and labels uint8 [records] of one binary batch.

    Args:
      records: the required number of images; None: any number.
    """
    if records is None and (not content or len(content) % RECORD):
        raise ValueError(
            f"{where}: {len(content):,} bytes; a batch has {RECORD:,} for each image: get the file again."
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1 if records is None else records, RECORD)
    return _from_planes(rows[:, 1:]), rows[:, 0]


def python_batch(content: bytes, records: int | None, where: str) -> Arrays:
    """Images uint8 [records, 32, 32, 3] and labels [records] of one pickled batch. No code of the pickle runs.

    Args:
      records: the required number of images; None: any number.
    """
    batch = load_dict(content, where)
    for key in ("data", "labels"):
        if key not in batch:
            raise ValueError(f"{where}: its dict has no {key!r}; a CIFAR-10 batch has.")
    data, labels = batch["data"], batch["labels"]
    if records is None and isinstance(data, np.ndarray) and data.ndim:
        records = len(data)
    if (
        not isinstance(data, np.ndarray)
        or data.dtype != np.uint8
        or data.shape != (records, PIXELS)
    ):
        described = (
            f"{data.dtype} {list(data.shape)}"
            if isinstance(data, np.ndarray)
            else type(data).__name__
        )
        expected = [records or "n", PIXELS]
        raise ValueError(f"{where}: its data are {described}; expected uint8 {expected}.")
    if isinstance(labels, list) and not all(
        type(label) is int and 0 <= label < 256 for label in labels
    ):
        raise ValueError(f"{where}: a label is not a whole number from 0 to 9.")
    if not isinstance(labels, list | np.ndarray) or np.shape(labels) != (records,):
        raise ValueError(f"{where}: its labels are not a list of {records:,} numbers.")
    return _from_planes(data), np.asarray(labels)


def _from_planes(rows: np.ndarray) -> np.ndarray:
    return rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)


@dataclass(frozen=True)
class Layout:
    """One of the two forms in which CIFAR-10 is published."""

    folder: str
    suffix: str
    # (content of a batch, required number of images, name of the batch) -> its images and labels.
    decode: Callable[[bytes, int | None, str], Arrays]

    @property
    def train(self) -> list[str]:
        """File names of the training batches."""
        return [f"data_batch_{i}{self.suffix}" for i in range(1, BATCHES + 1)]

    @property
    def test(self) -> list[str]:
        """File names of the test batches."""
        return [f"test_batch{self.suffix}"]


BINARY = Layout("cifar-10-batches-bin", ".bin", binary_batch)
PYTHON = Layout("cifar-10-batches-py", "", python_batch)


def found_in(folder: Path) -> tuple[Path, Layout] | None:
    """The folder of batches and their layout: `folder`, or the subfolder from an archive in it; None if it has none.

    One batch is enough to identify the layout. Missing batches are then reported by name.
    """
    for layout in (BINARY, PYTHON):
        if any((folder / name).is_file() for name in [*layout.train, *layout.test]):
            return folder, layout
    for layout in (BINARY, PYTHON):
        if (folder / layout.folder).is_dir():
            return folder / layout.folder, layout
    return None


def read_batches(folder: Path, layout: Layout) -> tuple[tuple[str, ...], dict[str, Split]]:
    """The class names and the splits "train" and "test" of a folder of batches. Batches may have different sizes.

    Raises:
      FileNotFoundError: a batch is missing.
      ValueError: the batches are too large, or one is damaged or has labels other than those of CIFAR-10.
    """
    _check_files([folder / name for name in [*layout.train, *layout.test]])
    parts = {}
    for part, names in (("train", layout.train), ("test", layout.test)):
        batches = [_read(folder / name, layout) for name in names]
        images, labels = (np.concatenate(columns) for columns in zip(*batches, strict=True))
        parts[part] = Split(np.ascontiguousarray(images), labels.astype(np.int64))
    return CLASSES, parts


def _check_files(paths: Sequence[Path]) -> None:
    """Raise an error, before any batch is read, if one is missing or all together are too large."""
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing; a copy of CIFAR-10 has {BATCHES} training batches and a test batch."
            )
    size = sum(path.stat().st_size for path in paths)
    if size > MAX_BYTES:
        raise ValueError(
            f"{paths[0].parent}: {size:,} bytes of batches; expected at most {MAX_BYTES:,}: give fewer images."
        )


def _read(path: Path, layout: Layout) -> Arrays:
    images, labels = layout.decode(path.read_bytes(), None, str(path))
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or not len(labels):
        raise ValueError(f"{path}: its labels are not a list of whole numbers.")
    check_range(labels, str(path))
    return images, labels


def check_range(labels: np.ndarray, where: str) -> None:
    """Raise ValueError if a label is not one of the ten classes. `where` is the file, for the message."""
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(CLASSES):
        raise ValueError(f"{where}: its labels go from {low} to {high}; expected 0 to 9.")
