"""Prepare pixels for a model: resize, reverse the channels, normalize by mean and standard deviation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from compress.data.dataset import Split

MAX_SIDE = 8192  # of a resized image


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """The steps that are applied to uint8 images, in the order of the fields. By default there are none.

    A model trained with torchvision's transforms on RGB images sees (pixel / 255 - mean) / std.
    """

    resize: tuple[int, int] | None = None  # height and width
    bgr: bool = False  # channels in the order blue, green, red
    scale: float = 1 / 255  # factor before the mean is subtracted; used only with mean or std
    mean: tuple[float, ...] = ()  # one per channel in the model's order, or one for all; empty: 0
    std: tuple[float, ...] = ()  # as for mean; empty: 1

    def __post_init__(self) -> None:
        if self.resize and not all(1 <= side <= MAX_SIDE for side in self.resize):
            raise ValueError(f"resize: {self._size} is not from 1 to {MAX_SIDE:,} on each side.")
        if any(not math.isfinite(number) for number in (*self.mean, *self.std)):
            raise ValueError("mean and std: expected finite numbers.")
        if any(std <= 0 for std in self.std):
            raise ValueError(f"std: {_listed(self.std)} has a number that is not above 0.")
        top = 255 * self.scale
        if any(not -top <= mean <= top for mean in self.mean):
            raise ValueError(
                f"mean: {_listed(self.mean)} lies beyond the largest pixel, {top:.4g} at a scale of {self.scale:.4g}: "
                "for the mean of raw pixels add --input-scale 1."
            )

    @property
    def normalizes(self) -> bool:
        """True if images become float32."""
        return bool(self.mean or self.std)

    def changed(self) -> Mapping[str, Any]:
        """The fields that are not at their defaults."""
        default = asdict(Preparation())
        return {k: v for k, v in asdict(self).items() if v != default[k]}

    def resized(self, split: Split) -> Split:
        """The split with its images resized to `resize`: bilinear with antialiasing, as torchvision does."""
        if not self.resize or split.images.shape[1:3] == self.resize:
            return split
        from PIL import Image

        height, width = self.resize
        sized = np.empty((len(split), height, width, split.images.shape[3]), np.uint8)
        for place, image in zip(sized, split.images, strict=True):
            seen = image[..., 0] if image.shape[-1] == 1 else image
            smaller = Image.fromarray(seen).resize((width, height), Image.Resampling.BILINEAR)
            place[...] = np.asarray(smaller).reshape(place.shape)
        return Split(sized, split.labels)

    def applied(self, split: Split) -> Split:
        """The split with the requested order of channels, and normalized to float32 if requested. Sizes stay."""
        images = split.images[..., ::-1] if self.bgr else split.images
        if self.normalizes:
            mean = np.asarray(self.mean or (0.0,), np.float32)
            std = np.asarray(self.std or (1.0,), np.float32)
            images = (images * np.float32(self.scale) - mean) / std
        return Split(np.ascontiguousarray(images), split.labels)

    def check(self, split: Split, name: str) -> None:
        """Raise ValueError if this preparation does not fit the examples. The message begins with `name`."""
        if not self.changed():
            return
        if split.is_features:
            raise ValueError(
                f"{name}: float32 features, which are given to models as they are: leave out --mean, --std, --bgr and "
                "--resize."
            )
        channels = split.images.shape[-1]
        if self.bgr and channels != 3:
            raise ValueError(f"{name}: grey images of one channel have no order: leave out --bgr.")
        for flag, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) not in (0, 1, channels):
                raise ValueError(
                    f"{name}: images of {channels} {'channel' if channels == 1 else 'channels'}, and --{flag} has "
                    f"{len(numbers)} numbers; expected one for each channel, or one for all."
                )

    def __str__(self) -> str:
        parts = [f"resized to {self._size}"] if self.resize else []
        parts += ["in the order blue, green, red"] if self.bgr else []
        if self.normalizes:
            inverse = 1 / self.scale
            times = f"1/{inverse:.6g}" if inverse > 1 else f"{self.scale:.6g}"
            normalized = f"multiplied by {times}, less the mean {_listed(self.mean or (0,))}"
            parts.append(
                f"{normalized}, divided by the standard deviation {_listed(self.std or (1,))}"
            )
        return ", ".join(parts)

    @property
    def _size(self) -> str:
        return "x".join(map(str, self.resize or ()))


def _listed(numbers: tuple[float, ...]) -> str:
    return ",".join(f"{number:.6g}" for number in numbers)
