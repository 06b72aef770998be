"""Assign images to splits by their content, so that the order in the files does not matter."""

from __future__ import annotations

import hashlib

import numpy as np

from compress.data.dataset import Split


def content_order(images: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """The order of images by a hash of seed, pixels and label. The order in the files does not matter.

    Returns:
      int64 [n]: indices that sort the images.
    """
    rows = np.ascontiguousarray(images).reshape(len(images), -1)
    prefix = f"{seed}:".encode()
    keys = [
        hashlib.sha256(prefix + bytes([int(label) & 255]) + row.tobytes()).digest()
        for row, label in zip(rows, labels, strict=True)
    ]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def split_by_class(
    images: np.ndarray, labels: np.ndarray, validation_fraction: float, seed: int = 0
) -> tuple[Split, Split]:
    """Train and validation splits, each with the classes in the same proportions.

    The first images of each class in `content_order` become validation. An image therefore lands in the same split in
    every copy of the data, and in every subset that was drawn evenly from both splits.
    """
    order = content_order(images, labels, seed)
    in_validation = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        in_validation[of_class[: round(validation_fraction * len(of_class))]] = True
    train, validation = order[~in_validation[order]], order[in_validation[order]]
    return (
        Split(images[train], labels[train].astype(np.int64)),
        Split(images[validation], labels[validation].astype(np.int64)),
    )
