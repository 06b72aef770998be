"""A data set in three splits of labeled examples: images or features. The test split stays closed until measuring."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

Note = Callable[[str], None]

EXAMPLES = "uint8 pixels [n, h, w, c], or float32 features [n, h, w, c], [n, t, c] or [n, values]"


def check_examples(examples: np.ndarray, where: str) -> None:
    """Raise ValueError unless these are images, uint8 [n, h, w, c], or features, finite float32 of 2 to 4 axes.

    Args:
      where: the name or the source of the examples, with which the message begins.
    """
    kind, shape = examples.dtype, list(examples.shape)
    is_image = kind == np.uint8 and examples.ndim == 4
    if not is_image and not (kind == np.float32 and 2 <= examples.ndim <= 4):
        cast = ": cast features to float32" if kind.kind == "f" and kind != np.float32 else ""
        raise ValueError(f"{where} is {kind} of shape {shape}; expected {EXAMPLES}{cast}.")
    if kind == np.float32 and not np.isfinite(examples).all():
        raise ValueError(f"{where} has NaN or infinite numbers; expected finite features.")


@dataclass(frozen=True)
class Split:
    """Labeled examples in a fixed order: images, or features, which models get unchanged.

    Images are uint8 [n, h, w, c]. Features, such as spectrograms or windows of a sensor, are float32 [n, h, w, c],
    [n, t, c] or [n, values], all finite. Labels are int64 [n].
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        check_examples(self.images, "a split")

    @property
    def is_features(self) -> bool:
        """True if the examples are features, not images."""
        return self.images.dtype == np.float32

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def pixels(self) -> int:
        """Number of pixels of all images, or of steps of all features."""
        n, *axes, _ = self.images.shape
        return int(np.prod([n, *axes], dtype=np.int64))

    def with_more(self, other: Split) -> Split:
        """These examples, then those of `other`."""
        pairs = ((self.images, other.images), (self.labels, other.labels))
        return Split(*(np.concatenate(pair) for pair in pairs))

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
    """The splits of a task's data. The test images come only through `open_test`, which only measuring code calls."""

    name: str  # as stored in rows: "cifar10", "cifar10-sample"
    classes: tuple[str, ...]
    train: Split
    validation: Split
    open_test: Callable[[], Split] = dataclasses.field(repr=False)
    # True: a substitute, because a download failed. The next call may find the data although no file has changed.
    provisional: bool = False

    @property
    def digests(self) -> DataDigests:
        """The name and the digests of train and validation; the test split stays closed."""
        return DataDigests(self.name, self.train.digest, self.validation.digest)
