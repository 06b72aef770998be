"""Requirements on every copy of CIFAR-10: counts, shapes, dtypes and labels. A failed check gives one sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from compress.data.cifar_batches import CLASSES, PIXELS, SIDE, check_range

__all__ = ["CLASSES", "FULL", "PIXELS", "SIDE", "Arrays", "Counts", "Files", "checked"]

Arrays = tuple[np.ndarray, np.ndarray]  # images uint8 [n, 32, 32, 3], labels uint8 [n]


@dataclass(frozen=True)
class Counts:
    """The number of images of a copy. All classes have the same number."""

    train: int
    test: int


FULL = Counts(train=50_000, test=10_000)


@dataclass(frozen=True)
class Files:
    """A copy of CIFAR-10 that was found and looks complete. Calling `train` or `test` reads and checks its images."""

    train: Callable[[], Arrays]
    test: Callable[[], Arrays]
    remark: str = ""  # what the user should know about this copy, one sentence


def checked(images: np.ndarray, labels: np.ndarray, count: int, where: str) -> Arrays:
    """Check images and labels and return them as uint8 [count, 32, 32, 3] and uint8 [count]. No value changes.

    Args:
      count: the required number of images, a tenth of them in each class.
      where: the file or folder, for the message of the ValueError.
    """
    if images.dtype != np.uint8:
        raise ValueError(f"{where}: its images are {images.dtype}; CIFAR-10 has uint8 pixels.")
    if images.shape != (count, SIDE, SIDE, 3):
        raise ValueError(
            f"{where}: its images have shape {list(images.shape)}; "
            f"expected {[count, SIDE, SIDE, 3]}."
        )
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{where}: its labels are {labels.dtype} of shape {list(labels.shape)}; "
            f"expected {count:,} whole numbers."
        )
    check_range(labels, where)
    of_class = np.bincount(labels.astype(np.int64), minlength=len(CLASSES))
    for name, labelled in zip(CLASSES, of_class, strict=True):
        # This catches a batch that is there twice: only the official test batch has equally many images per class.
        if labelled != count // len(CLASSES):
            raise ValueError(
                f"{where}: {labelled:,} images are labelled {name}; "
                f"expected {count // len(CLASSES):,} of each class."
            )
    return np.ascontiguousarray(images), labels.astype(np.uint8)
