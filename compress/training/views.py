"""Views: a fixed number of augmentations of every image, shown in turn, so that teachers' answers can be stored."""

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
    2  # of the content of views; raising it makes only saved runs of trainings with views stale
)
Batch = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class View:
    """One augmentation of every image of a split. The order of the images does not change it."""

    split: Split
    classes: int
    scale: float
    number: int  # from 0
    draws: Draws
    partners: np.ndarray | None  # int64 [n]: index of the image mixed in; None: no mixtures
    shares: np.ndarray  # float32 [n]: share of each image in its mixture

    def batch(self, chosen: np.ndarray) -> Batch:
        """Images and labels with the given indices, in the form that `batches` gives."""
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
    """The `recipe.views` views of a split. With `recipe.mixup`, views with odd numbers mix the images in pairs.

    `seed` decides the order of the images in each epoch, but not the content of a view. All seeds therefore share the
    teachers' answers to the views.
    """

    split: Split
    classes: int
    recipe: Recipe
    scale: float
    seed: int

    def shown_in(self, epoch: int) -> int:
        """The number of the view that epoch `epoch` (from 0) shows: all in turn, or only unmixed ones after mixup."""
        if self.recipe.mixup and not self.recipe.mixes_in(epoch):
            return epoch % ((self.recipe.views + 1) // 2) * 2
        return epoch % self.recipe.views

    def shown(self) -> list[int]:
        """The numbers of all views that the training shows, in the order of their first epoch."""
        return list(dict.fromkeys(map(self.shown_in, range(self.recipe.epochs))))

    def view(self, number: int) -> View:
        """The view with this number. It depends neither on the seed nor on the number of views."""
        # The third number makes the random stream differ from that of the order of images in an epoch.
        rng = np.random.default_rng([0, number, 1])
        n, mixup = len(self.split), self.recipe.mixup
        draws = Draws.of(n, self.recipe.flip, self.recipe.crop, rng)
        partners = rng.permutation(n) if mixup and number % 2 else None
        shares = np.ones(n, np.float32) if partners is None else shares_of(n, mixup, rng)
        return View(self.split, self.classes, self.scale, number, draws, partners, shares)

    def augmentation(self, number: int) -> dict[str, float]:
        """The settings that decide the content of the view with this number, as JSON values."""
        settings = {"flip": self.recipe.flip, "crop": self.recipe.crop}
        return settings | ({"mixup": self.recipe.mixup} if number % 2 and self.recipe.mixup else {})

    def batches(
        self, done: int, targets: Callable[[View, np.ndarray], np.ndarray] | None = None
    ) -> Iterator[Batch]:
        """Endless batches, beginning with epoch `done`. Each epoch shows its view in its own order.

        Args:
          targets: a function to the targets, float32 [b, k], of some images of a view. They follow the labels.
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
