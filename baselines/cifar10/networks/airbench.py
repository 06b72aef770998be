"""The airbench94 network, a teacher: 1,971,640 weights and biases, 94 % on CIFAR-10 within ten epochs.

Source: KellerJordan/cifar10-airbench, legacy/airbench94.py. All numbers are from it, except where a comment says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import click
import numpy as np

from baselines.cifar10.networks.resnet import CLASSES, INPUT_SHAPE, WIDTHS
from baselines.cifar10.recipes import AIRBENCH_RECIPES
from compress import backend
from compress.tasks.network import Network
from compress.training.recipe import Recipe
from compress.typed_options import option

MEAN = (0.4914, 0.4822, 0.4465)  # of CIFAR-10's red, green and blue, pixels in [0, 1]
STD = (0.2470, 0.2435, 0.2616)
WHITENING_IMAGES = 5_000  # the first of the training images
WHITENING_SIZE = 2  # pixels, height and width of the whitening kernel
WHITENING_EPSILON = 5e-4
BATCHNORM_EPSILON = 1e-12
LOGIT_SCALE = 1 / 9
_AT_ONCE = 500  # images; all patches of one batch are in memory together


@dataclass(frozen=True, kw_only=True)
class Airbench(Network):
    """A frozen whitening convolution, three groups of two 3x3 convolutions, max-pooling, Dense without bias.

    Between the convolutions are max-pooling, BatchNormalization with its scale fixed at 1, and exact GELU. Only the
    whitening convolution has a bias. Each 3x3 convolution starts as close to the identity as possible: its first
    filters, one per input channel, each copy their input channel (Dirac initialization).

    Sizes at widths 64, 256, 256; a multiply-accumulate (MAC) counts once:

      part                                       | output   | weights   | MMAC
      2x2 whitening convolution, no border       | 31x31x24 |       288 |   0.28
      group 1                                    | 15x15x64 |    50,688 |  21.58
      group 2                                    | 7x7x256  |   737,280 |  62.08
      group 3                                    | 3x3x256  | 1,179,648 |  34.21
      3x3 max-pooling, Dense                     | 10       |     2,560 |   0.00
      all, with 24 biases and 1,152 shifts       |          | 1,971,640 | 118.15
    """

    name: ClassVar = "airbench"
    version: ClassVar[int] = 1  # raise it when what `build` gives changes
    widths: tuple[int, int, int] = option(
        (64, 256, 256), WIDTHS, "Filters of the groups at 31x31, 15x15 and 7x7."
    )
    # The source uses 0.6, for 10 epochs; 0.9 suits the longer training of a teacher.
    momentum: float = option(
        0.9,
        click.FloatRange(0, 1, max_open=True),
        "Momentum of the statistics of BatchNormalization.",
    )

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        """How to train the network from scratch, as a teacher."""
        return AIRBENCH_RECIPES

    def build(self, images: np.ndarray | None = None, *, dropout: float = 1.0) -> Any:
        """A Keras 3 model, float32 [b, 32, 32, 3] in [0, 1] -> logits float32 [b, 10]. It has no dropout.

        The whitening kernel is frozen. A copy of the model, or a model loaded from a file, loses this setting.

        Args:
          images: training images, uint8 [n, 32, 32, 3]; the first 5,000 give the whitening kernel. None: it is random.
        """
        layers = backend.keras().layers
        image = layers.Input(INPUT_SHAPE, name="image")
        variance = [deviation**2 for deviation in STD]
        x = layers.Normalization(mean=list(MEAN), variance=variance, name="normalize")(image)
        whitening = layers.Conv2D(
            2 * WHITENING_SIZE**2 * INPUT_SHAPE[-1], WHITENING_SIZE, name="whiten"
        )
        x = layers.Activation("gelu", name="gelu0")(whitening(x))
        if images is not None:
            whitening.kernel.assign(_whitening_kernel_of(images))
        whitening.kernel.trainable = False
        for group, filters in enumerate(self.widths, start=1):
            x = layers.MaxPooling2D(name=f"pool{group}")(_convolution(x, f"{group}a", filters))
            x = self._activated(x, f"{group}a")
            x = self._activated(_convolution(x, f"{group}b", filters), f"{group}b")
        x = layers.Flatten(name="flatten")(layers.MaxPooling2D(3, name="pool4")(x))
        x = layers.Dense(CLASSES, use_bias=False, kernel_initializer=_uniform(), name="scores")(x)
        logits = layers.Rescaling(LOGIT_SCALE, name="logits")(x)
        return backend.keras().Model(image, logits, name="airbench")

    def _activated(self, x: Any, name: str) -> Any:
        layers = backend.keras().layers
        x = layers.BatchNormalization(
            momentum=self.momentum, epsilon=BATCHNORM_EPSILON, scale=False, name=f"norm{name}"
        )(x)
        return layers.Activation("gelu", name=f"gelu{name}")(x)


def _whitening_kernel_of(images: np.ndarray) -> np.ndarray:
    """The whitening kernel of training images, uint8 [n, 32, 32, 3]."""
    if images.dtype != np.uint8 or images.shape[1:] != INPUT_SHAPE or not len(images):
        raise ValueError(
            f"airbench: {images.dtype} {list(images.shape)} are no training images: "
            f"give uint8 [n, {', '.join(map(str, INPUT_SHAPE))}], n above 0."
        )
    pixels = images[:WHITENING_IMAGES].astype(np.float32) / 255
    normalized = (pixels - np.array(MEAN)) / np.array(STD)
    return whitening_kernel(normalized, WHITENING_SIZE, WHITENING_EPSILON)


def whitening_kernel(images: np.ndarray, size: int, epsilon: float) -> np.ndarray:
    """The whitening kernel: over all patches of the images, its outputs are uncorrelated and have a mean square near 1.

    The first half of its filters are the eigenvectors of the patches' second moments, largest eigenvalue first, each
    divided by sqrt(eigenvalue + epsilon). The second half are the negatives of the first. The mean square of an output
    is eigenvalue / (eigenvalue + epsilon), so epsilon limits the gain of directions that contain only noise.

    Args:
      images: float32 [n, h, w, c] as the kernel receives them.
      size: height and width of a patch.

    Returns:
      float32 [size, size, c, 2 * size * size * c].
    """
    n, h, w, c = images.shape
    length = size * size * c
    moments = np.zeros((length, length))
    for start in range(0, n, _AT_ONCE):
        batch = images[start : start + _AT_ONCE]
        windows = np.lib.stride_tricks.sliding_window_view(batch, (size, size), axis=(1, 2))
        patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, length).astype(np.float64)
        moments += patches.T @ patches
    eigenvalues, eigenvectors = np.linalg.eigh(moments / (n * (h - size + 1) * (w - size + 1)))
    filters = eigenvectors[:, ::-1] / np.sqrt(np.maximum(eigenvalues[::-1], 0) + epsilon)
    kernel = np.concatenate([filters, -filters], axis=1)
    return kernel.reshape(size, size, c, 2 * length).astype(np.float32)


def dirac_filters(kernel: np.ndarray) -> np.ndarray:
    """A kernel [h, w, i, o] whose first `i` filters each copy one input channel; the others are unchanged.

    >>> dirac_filters(np.full((1, 1, 2, 3), 5.0))[0, 0].tolist()
    [[1.0, 0.0, 5.0], [0.0, 1.0, 5.0]]
    """
    h, w, inputs, filters = kernel.shape
    result, copied = kernel.copy(), np.arange(min(inputs, filters))
    result[..., copied] = 0
    result[h // 2, w // 2, copied, copied] = 1
    return result


def _convolution(x: Any, name: str, filters: int) -> Any:
    layer = backend.keras().layers.Conv2D(
        filters,
        3,
        padding="same",
        use_bias=False,
        kernel_initializer=_uniform(),
        name=f"conv{name}",
    )
    outputs = layer(x)
    layer.kernel.assign(dirac_filters(np.array(layer.kernel)))
    return outputs


def _uniform() -> Any:
    """PyTorch's default initialization: uniform in [-limit, limit], limit = 1 / sqrt(inputs of a filter)."""
    return backend.keras().initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
