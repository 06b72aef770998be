"""The official CIFAR-10 batches, binary and Python: `data_batch_1` to `_5` and `test_batch`, in a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from baselines.cifar10.spec import PIXELS, SIDE, Arrays, Counts, Files, check_range, checked
from baselines.safe_pickle import load_dict

BATCHES = 5
RECORD = 1 + PIXELS  # bytes: the label, then the red, green and blue plane, row by row


def binary_batch(content: bytes, records: int, where: str) -> Arrays:
    """Images uint8 [records, 32, 32, 3] and labels uint8 [records] of one binary batch."""
    rows = np.frombuffer(content, np.uint8).reshape(records, RECORD)
    return _from_planes(rows[:, 1:]), rows[:, 0]


def python_batch(content: bytes, records: int, where: str) -> Arrays:
    """Images uint8 [records, 32, 32, 3] and labels [records] of one pickled batch; runs no code of the pickle."""
    batch = load_dict(content, where)
    for key in ("data", "labels"):
        if key not in batch:
            raise ValueError(f"{where}: its dict has no {key!r}; a CIFAR-10 batch has.")
    data, labels = batch["data"], batch["labels"]
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
        raise ValueError(f"{where}: its data are {described}; expected uint8 {[records, PIXELS]}.")
    if isinstance(labels, list) and not all(
        type(label) is int and 0 <= label < 256 for label in labels
    ):
        raise ValueError(f"{where}: a label is not a whole number from 0 to 9.")
    if not isinstance(labels, list | np.ndarray) or len(labels) != records:
        raise ValueError(f"{where}: its labels are not a list of {records:,} numbers.")
    return _from_planes(data), np.asarray(labels)


def _from_planes(rows: np.ndarray) -> np.ndarray:
    return rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)


@dataclass(frozen=True)
class Layout:
    """One of the two forms in which CIFAR-10 is published."""

    folder: str
    suffix: str
    # Content of a batch of the right size, how many images it holds, its name -> its images and labels.
    decode: Callable[[bytes, int, str], Arrays]

    @property
    def train(self) -> list[str]:
        """File names of the training batches."""
        return [f"data_batch_{i}{self.suffix}" for i in range(1, BATCHES + 1)]

    @property
    def test(self) -> list[str]:
        """File names of the test batches."""
        return [f"test_batch{self.suffix}"]

    def check_sizes(self, sizes: Mapping[str, int], counts: Counts, where: str) -> None:
        """FileNotFoundError if a batch is missing from `sizes`, file name -> bytes; ValueError if one is too small."""
        for name in [*self.train, *self.test]:
            records = counts.test if name in self.test else counts.train // BATCHES
            if name not in sizes:
                raise FileNotFoundError(
                    f"{where}/{name} is missing; a copy of CIFAR-10 has {BATCHES} training batches and a test batch."
                )
            if self is BINARY and sizes[name] != records * RECORD:
                raise ValueError(
                    f"{where}/{name}: {sizes[name]:,} bytes; a batch of {records:,} images has "
                    f"{records * RECORD:,} ({records:,} x {RECORD:,}): get the file again."
                )
            if sizes[name] < records * PIXELS:
                raise ValueError(
                    f"{where}/{name}: {sizes[name]:,} bytes; a pickled batch of {records:,} images has "
                    f"more than {records * PIXELS:,}: get the file again."
                )

    def join(
        self, contents: Sequence[bytes], names: Sequence[str], count: int, where: str
    ) -> Arrays:
        """The images and labels of all these batches together, `count` of them."""
        records = count // len(names)
        parts = [
            self.decode(content, records, f"{where}/{name}")
            for content, name in zip(contents, names, strict=True)
        ]
        for name, (_, labels) in zip(names, parts, strict=True):
            check_range(labels, f"{where}/{name}")
        images, labels = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return checked(images, labels, count, where)


BINARY = Layout("cifar-10-batches-bin", ".bin", binary_batch)
PYTHON = Layout("cifar-10-batches-py", "", python_batch)


def open_batches(folder: Path, layout: Layout, counts: Counts) -> Files:
    """The batches in `folder`, all there and of the right size."""
    present = [name for name in [*layout.train, *layout.test] if (folder / name).is_file()]
    sizes = {name: (folder / name).stat().st_size for name in present}
    layout.check_sizes(sizes, counts, str(folder))

    def read(names: Sequence[str], count: int) -> Arrays:
        return layout.join(
            [(folder / name).read_bytes() for name in names], names, count, str(folder)
        )

    return Files(
        train=lambda: read(layout.train, counts.train), test=lambda: read(layout.test, counts.test)
    )
