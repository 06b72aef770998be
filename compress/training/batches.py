"""Batches of a training split: order and augmentation, decided by seed and epoch alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from compress.data.dataset import Split
    from compress.training.recipe import Recipe


def augment(images: np.ndarray, flip: bool, crop: int, rng: np.random.Generator) -> np.ndarray:
    """Mirror half of the images, then crop each at random after adding a reflected border of `crop` pixels.

    Args:
      images: uint8 [b, h, w, c].

    Returns:
      uint8 [b, h, w, c].
    """
    b, h, w, _ = images.shape
    if flip:
        mirrored: np.ndarray = np.array(rng.random(b) < 0.5)
        images = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
    if crop:
        bordered = np.pad(images, ((0, 0), (crop, crop), (crop, crop), (0, 0)), mode="reflect")
        top, left = rng.integers(0, 2 * crop + 1, size=(2, b))
        rows, columns = top[:, None] + np.arange(h), left[:, None] + np.arange(w)
        images = bordered[np.arange(b)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return images


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """Labels int64 [n] as float32 [n, classes].

    >>> one_hot(np.array([1]), 3)
    array([[0., 1., 0.]], dtype=float32)
    """
    return np.eye(classes, dtype=np.float32)[labels]


def batches(
    split: Split, classes: int, recipe: Recipe, scale: float, seed: int, done: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless batches from epoch `done` (from 0) on. The content of an epoch depends only on `seed` and its number.

    The last images of an epoch, if they fill no batch, are left out of it.

    Returns:
      images times `scale`, float32 [b, h, w, c], and one-hot labels float32 [b, classes].
    """
    batch = min(recipe.batch_size, len(split))
    for epoch in range(done, 2**31):
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(split))
        for start in range(0, len(order) - batch + 1, batch):
            chosen = order[start : start + batch]
            images = augment(split.images[chosen], recipe.flip, recipe.crop, rng)
            yield images * np.float32(scale), one_hot(split.labels[chosen], classes)


def with_targets(
    drawn: Iterator[tuple[np.ndarray, np.ndarray]], targets: Callable[[np.ndarray], np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The batches, their labels followed by `targets` of the same augmented images: float32 [b, classes + k]."""
    for images, labels in drawn:
        yield images, np.concatenate([labels, targets(images)], axis=1)
