"""Where CIFAR-10 is, and what becomes of it: found, read, checked and split."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from baselines.cifar10_batches import open_binary_folder
from baselines.cifar10_checks import CLASSES, FULL, Counts, Files
from compress.task import Dataset, Split, content_order, split_by_class

VALIDATION_FRACTION = 0.15


def load(path: Path | None, note: Callable[[str], None], counts: Counts = FULL) -> Dataset:
    """The data at `path`, else in the folder that the environment variable CIFAR10_DIR names."""
    named = path or (Path(os.environ["CIFAR10_DIR"]) if os.environ.get("CIFAR10_DIR") else None)
    if named is None:
        raise FileNotFoundError("no CIFAR-10 data: give --data PATH or set CIFAR10_DIR.")
    return dataset(open_binary_folder(named, counts), "cifar10")


def dataset(files: Files, name: str) -> Dataset:
    """Split the training images; leave the test images unread until they are asked for."""
    train, validation = split_by_class(*files.train(), VALIDATION_FRACTION)

    def open_test() -> Split:
        images, labels = files.test()
        order = content_order(images, labels, seed=0)
        return Split(images[order], labels[order].astype("int64"))

    return Dataset(name, CLASSES, train, validation, open_test)
