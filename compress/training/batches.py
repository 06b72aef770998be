"""Batches of a training split: the seed and the epoch alone decide their order and augmentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from compress.data.dataset import Split
    from compress.training.recipe import Recipe

EPOCHS = 2**31  # more than any training has


@dataclass(frozen=True)
class Draws:
    """The random choices for the augmentation of n images."""

    mirrored: np.ndarray  # bool [n]
    crop: int  # pixels of the reflected border
    top: np.ndarray  # int64 [n]: first row of the crop, in the bordered image
    left: np.ndarray  # int64 [n]: first column

    @classmethod
    def of(cls, n: int, flip: bool, crop: int, rng: np.random.Generator) -> Draws:
        """The draws for `n` images. With `flip`, each is mirrored with probability 0.5."""
        mirrored = rng.random(n) < 0.5 if flip else np.zeros(n, bool)
        top, left = rng.integers(0, 2 * crop + 1, size=(2, n)) if crop else np.zeros((2, n), int)
        return cls(mirrored, crop, top, left)

    def __getitem__(self, chosen: np.ndarray) -> Draws:
        """The draws of the images with these indices."""
        return Draws(self.mirrored[chosen], self.crop, self.top[chosen], self.left[chosen])


def augmented(images: np.ndarray, draws: Draws) -> np.ndarray:
    """The images [n, h, w, c], mirrored and cropped as drawn. Other features are returned unchanged."""
    crop = draws.crop
    if not crop and not draws.mirrored.any():
        return images
    n, h, w, channels = images.shape
    rows = _reflected(draws.top[:, None] - crop + np.arange(h), h)
    columns = _reflected(draws.left[:, None] - crop + np.arange(w), w)
    columns = np.where(draws.mirrored[:, None], w - 1 - columns, columns)
    pixels = (np.arange(n)[:, None, None] * h + rows[:, :, None]) * w + columns[:, None, :]
    return np.take(images.reshape(-1, channels), pixels, axis=0)


def _reflected(places: np.ndarray, size: int) -> np.ndarray:
    """Places on an axis of length `size`. A place beyond an end is reflected, as `np.pad` does.

    >>> _reflected(np.array([-2, -1, 0, 3, 4, 5]), 4)
    array([2, 1, 0, 3, 2, 1])
    """
    period = max(2 * (size - 1), 1)
    within = places % period
    return np.minimum(within, period - within)


def check_augmentation(split: Split, recipe: Recipe) -> None:
    """Raise ValueError if a recipe mirrors or crops data that have no height and width."""
    if split.images.ndim != 4 and (recipe.flip or recipe.alternating_flip or recipe.crop):
        raise ValueError(
            f"flip, alternating_flip and crop are for images, and the data are features of shape "
            f"{list(split.images.shape[1:])}: leave them out of the recipe, or set them to false and 0 with --set."
        )


def mixed(one: np.ndarray, other: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Images or labels mixed in pairs: share * one + (1 - share) * other.

    Args:
      one, other: float32 [b, ...].
      shares: float32 [b], from 0 to 1.

    >>> mixed(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), np.array([0.75]))
    array([[0.75, 0.25]])
    """
    weights = shares.reshape(-1, *[1] * (one.ndim - 1))
    return weights * one + (1 - weights) * other


def shares_of(n: int, alpha: float, rng: np.random.Generator) -> np.ndarray:
    """The share of each of `n` images in its mixture, drawn from Beta(alpha, alpha): float32 [n].

    mixup, Zhang et al. 2018, section 2 (https://arxiv.org/abs/1710.09412). Each pair has its own share, as in the
    paper; the authors' program draws one share for a whole batch.
    """
    return rng.beta(alpha, alpha, n).astype(np.float32)


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """Labels int64 [n] as float32 [n, classes].

    >>> one_hot(np.array([1]), 3)
    array([[0., 1., 0.]], dtype=float32)
    """
    return np.eye(classes, dtype=np.float32)[labels]


def batches(
    split: Split, classes: int, recipe: Recipe, scale: float, seed: int, done: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless batches, beginning with epoch `done` (from 0). An epoch depends only on `seed` and its number.

    An epoch leaves out its last images if they do not fill a batch. With `recipe.mixup`, each image is mixed with the
    image before it in the batch, and their labels are mixed in the same way.

    Returns:
      images times `scale`, float32 [b, h, w, c], and labels float32 [b, classes], one-hot unless mixed.
    """
    check_augmentation(split, recipe)
    batch = min(recipe.batch_size, len(split))
    first_half = np.random.default_rng([seed, EPOCHS]).random(len(split)) < 0.5
    for epoch in range(done, EPOCHS):
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(split))
        for start in range(0, len(order) - batch + 1, batch):
            chosen = order[start : start + batch]
            draws = Draws.of(batch, recipe.flip, recipe.crop, rng)
            if recipe.alternating_flip:
                draws = replace(draws, mirrored=first_half[chosen] != bool(epoch % 2))
            images = augmented(split.images[chosen], draws)
            images, labels = images * np.float32(scale), one_hot(split.labels[chosen], classes)
            if recipe.mixes_in(epoch):
                shares = shares_of(batch, recipe.mixup, rng)
                images, labels = (
                    mixed(each, np.roll(each, 1, axis=0), shares) for each in (images, labels)
                )
            yield images, labels


def with_targets(
    drawn: Iterator[tuple[np.ndarray, np.ndarray]], targets: Callable[[np.ndarray], np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The batches, with `targets` of the augmented images after the labels: float32 [b, classes + k]."""
    for images, labels in drawn:
        yield images, np.concatenate([labels, targets(images)], axis=1)
