"""The CIFAR-10 ResNet of He et al. 2015: 174,698 weights and biases at depth 14, once normalization is folded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import click
import numpy as np

from baselines.cifar10.recipes import RESNET_RECIPES
from compress import backend
from compress.tasks.network import Network
from compress.training.recipe import Recipe
from compress.typed_options import WholeNumbers, option

CLASSES = 10
INPUT_SHAPE = (32, 32, 3)
WIDTHS = WholeNumbers(3, 1, 1024)


@dataclass(frozen=True, kw_only=True)
class ResNet(Network):
    """Post-activation ResNet: a 3x3 convolution, three stages of two-convolution blocks, pooling, Dense.

    He et al. 2015, section 4.2 (https://arxiv.org/abs/1512.03385), with one change: a shortcut that changes the shape
    is a 1x1 convolution with stride 2 (their option B), not their parameter-free option A.

    Sizes at widths 16, 32, 64 and depth 14; a multiply-accumulate (MAC) counts once:

      part                                    | output   | weights | MMAC
      3x3 convolution                         | 32x32x16 |     432 | 0.44
      2 blocks                                | 32x32x16 |   9,216 | 9.44
      2 blocks, the first with stride 2       | 16x16x32 |  32,768 | 8.39
      2 blocks, the first with stride 2       | 8x8x64   | 131,072 | 8.39
      global average pooling, Dense           | 10       |     640 | 0.00
      all, with 570 biases after folding      |          | 174,698 | 26.66

    >>> ResNet(depth=20).blocks
    3
    """

    name: ClassVar = "resnet"
    version: ClassVar[int] = 1  # raise it when what `build` gives changes
    widths: tuple[int, int, int] = option(
        (16, 32, 64),
        WIDTHS,
        "Filters of the stages at 32x32, 16x16 and 8x8; the first also of the convolution before.",
    )
    depth: int = option(
        14, click.IntRange(8, 200), "Layers with weights on the longest way: 8, 14, 20, 26 and on."
    )

    def __post_init__(self) -> None:
        Network.__post_init__(self)
        if (self.depth - 2) % 6:
            raise ValueError(
                f"resnet: option 'depth': {self.depth} is not 6n + 2 for a whole n above 0: use 8, 14, 20, 26 or on."
            )

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        """How to train the network from scratch."""
        return RESNET_RECIPES

    @property
    def blocks(self) -> int:
        """The number of blocks in each stage."""
        return (self.depth - 2) // 6

    def build(self, images: np.ndarray | None = None, *, dropout: float = 1.0) -> Any:
        """A Keras 3 model, float32 [b, 32, 32, 3] in [0, 1] -> logits float32 [b, 10]. It has no dropout."""
        layers = backend.keras().layers
        image = layers.Input(INPUT_SHAPE, name="image")
        x = layers.ReLU(name="relu0")(_normalized(image, "0", self.widths[0]))
        for stage, filters in enumerate(self.widths, start=1):
            for block in range(1, self.blocks + 1):
                x = _block(x, f"{stage}_{block}", filters, halves=stage > 1 and block == 1)
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        logits = layers.Dense(CLASSES, name="logits")(x)
        return backend.keras().Model(image, logits, name=f"resnet{self.depth}")


def _block(x: Any, name: str, filters: int, halves: bool) -> Any:
    """Two 3x3 convolutions and a shortcut. `halves`: both paths have stride 2, and the shortcut is a convolution."""
    layers = backend.keras().layers
    stride = 2 if halves else 1
    y = _normalized(x, f"{name}a", filters, stride=stride)
    y = layers.ReLU(name=f"relu{name}a")(y)
    y = _normalized(y, f"{name}b", filters)
    if halves:
        x = _normalized(x, f"{name}s", filters, size=1, stride=stride)
    return layers.ReLU(name=f"relu{name}b")(layers.Add(name=f"add{name}")([x, y]))


def _normalized(x: Any, name: str, filters: int, size: int = 3, stride: int = 1) -> Any:
    """A convolution without bias, directly followed by a BatchNormalization that can be folded into it."""
    layers = backend.keras().layers
    x = layers.Conv2D(
        filters,
        size,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",  # He et al. 2015, section 3.4
        name=f"conv{name}",
    )(x)
    return layers.BatchNormalization(name=f"norm{name}")(x)
