"""Views: a fixed number of augmentations of every image, shown in turn, so that answers to them can be stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compress.training.batches import EPOCHS, Draws, augmented, mixed, one_hot, shares_of

if TYPE_CHECKING:
    from compress.data.dataset import Split
    from compress.training.recipe import Recipe

VERSION = (
    2  # of what views show: raised, it makes saved runs of trainings by views stale, and no others
)
Batch = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class View:
    """One augmentation of every image of a split. What it shows of an image depends on no other order of images."""

    split: Split
    classes: int
    scale: float
    number: int  # from 0
    draws: Draws
    partners: np.ndarray | None  # int64 [n]: with which each image is mixed; None: with none
    shares: np.ndarray  # float32 [n]: of each image in its mixture

    def batch(self, chosen: np.ndarray) -> Batch:
        """Images and labels of the given numbers, as those of `batches`."""
        images, labels = self._whole(chosen)
        if self.partners is None:
            return images, labels
        others, other_labels = self._whole(self.partners[chosen])
        shares = self.shares[chosen]
        return mixed(images, others, shares), mixed(labels, other_labels, shares)

    def _whole(self, chosen: np.ndarray) -> Batch:
        images = augmented(self.split.images[chosen], self.draws[chosen])
        return images * np.float32(self.scale), one_hot(self.split.labels[chosen], self.classes)


@dataclass(frozen=True)
class Views:
    """The `recipe.views` views of a split. With `recipe.mixup`, those of odd number mix the images in pairs.

    `seed` decides the order of the images in each epoch, and not what a view shows: so all seeds share what teachers
    say of the views.
    """

    split: Split
    classes: int
    recipe: Recipe
    scale: float
    seed: int

    def shown_in(self, epoch: int) -> int:
        """The number of the view that epoch `epoch`, from 0, shows: each in turn, or only those of whole images."""
        if self.recipe.mixup and not self.recipe.mixes_in(epoch):
            return epoch % ((self.recipe.views + 1) // 2) * 2
        return epoch % self.recipe.views

    def shown(self) -> list[int]:
        """The numbers of the views that the training shows at all, in the order of their first epoch."""
        return list(dict.fromkeys(map(self.shown_in, range(self.recipe.epochs))))

    def view(self, number: int) -> View:
        """The view of that number, whatever the seed and however many views there are."""
        # A third number, or the order of images in an epoch would come from the same stream.
        rng = np.random.default_rng([0, number, 1])
        n, mixup = len(self.split), self.recipe.mixup
        draws = Draws.of(n, self.recipe.flip, self.recipe.crop, rng)
        partners = rng.permutation(n) if mixup and number % 2 else None
        shares = np.ones(n, np.float32) if partners is None else shares_of(n, mixup, rng)
        return View(self.split, self.classes, self.scale, number, draws, partners, shares)

    def augmentation(self, number: int) -> dict[str, float]:
        """The settings that decide what the view of that number shows, in JSON."""
        settings = {"flip": self.recipe.flip, "crop": self.recipe.crop}
        return settings | ({"mixup": self.recipe.mixup} if number % 2 and self.recipe.mixup else {})

    def batches(
        self, done: int, targets: Callable[[View, np.ndarray], np.ndarray] | None = None
    ) -> Iterator[Batch]:
        """Endless batches from epoch `done` on, of the view of each epoch in an order of its own.

        Args:
          targets: of the images of the given numbers in a view, float32 [b, k]; they follow the labels.
        """
        size = min(self.recipe.batch_size, len(self.split))
        for epoch in range(done, EPOCHS):
            view = self.view(self.shown_in(epoch))
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.split))
            for start in range(0, len(order) - size + 1, size):
                chosen = order[start : start + size]
                images, labels = view.batch(chosen)
                if targets is not None:
                    labels = np.concatenate([labels, targets(view, chosen)], axis=1)
                yield images, labels
