"""A data set in three splits of labelled images in a fixed order. The test images stay closed until measured."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

Note = Callable[[str], None]


@dataclass(frozen=True)
class Split:
    """Labelled images in a fixed order: images uint8 [n, h, w, c], labels int64 [n]."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def pixels(self) -> int:
        """Number of pixels of all images."""
        n, h, w, _ = self.images.shape
        return n * h * w

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of images and labels in order."""
        sha = hashlib.sha256(str(self.images.shape).encode())
        sha.update(np.ascontiguousarray(self.images).data)
        sha.update(self.labels.astype("<i8").tobytes())
        return sha.hexdigest()


@dataclass(frozen=True)
class DataDigests:
    """The identity of a data set in run keys: its name and the SHA-256, in hex, of train and validation."""

    name: str
    train: str
    validation: str


@dataclass(frozen=True)
class Dataset:
    """The data of a task, split. The test images come only through `open_test`, which only measuring code calls."""

    name: str  # what a row carries: "cifar10", "cifar10-sample"
    classes: tuple[str, ...]
    train: Split
    validation: Split
    open_test: Callable[[], Split] = dataclasses.field(repr=False)

    @property
    def digests(self) -> DataDigests:
        """The name and the digests of train and validation; the test split stays closed."""
        return DataDigests(self.name, self.train.digest, self.validation.digest)
