"""CIFAR-10 as one `.npz`: x_train, y_train, x_test, y_test, as Keras returns them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from baselines.cifar10.spec import SIDE, Arrays, Counts, Files, checked
from compress.data import npz

NAMES = ("x_train", "y_train", "x_test", "y_test")


def open_npz(path: Path, counts: Counts) -> Files:
    """The arrays in `path`, after a check that all have the right shape and type. No array is unpickled."""
    _check(path, counts)

    def read(part: str, count: int) -> Arrays:
        _check(path, counts)  # again: the file may have changed
        images, labels = npz.array(path, f"x_{part}"), npz.array(path, f"y_{part}")
        return checked(images, labels.reshape(-1), count, str(path))

    return Files(train=lambda: read("train", counts.train), test=lambda: read("test", counts.test))


def _check(path: Path, counts: Counts) -> None:
    """Check types and shapes before any array is read, so that a wrong array takes no memory."""
    headers = npz.headers(path)
    for name in NAMES:
        if name not in headers:
            raise ValueError(f"{path}: has no array {name}; expected {', '.join(NAMES)}.")
        shape, dtype = headers[name]
        count = counts.train if name.endswith("train") else counts.test
        right = dtype == np.uint8 if name.startswith("x") else dtype.kind in "iu"
        shapes = [(count, SIDE, SIDE, 3)] if name.startswith("x") else [(count,), (count, 1)]
        if not right or shape not in shapes:
            raise ValueError(
                f"{path}: {name} is {dtype} of shape {list(shape[:8])}; expected "
                f"{'uint8' if name.startswith('x') else 'whole numbers'} of shape {list(shapes[0])}."
            )
