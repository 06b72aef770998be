"""The airbench94 network: 1,971,640 weights and biases, 94 % on CIFAR-10 within ten epochs; a teacher.

Source: KellerJordan/cifar10-airbench, legacy/airbench94.py. All numbers here are its own, but where another is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from baselines.cifar10.networks.resnet import CLASSES, INPUT_SHAPE, check_widths
from compress import backend
from compress.training.param_groups import ParamGroup, TriangularSchedule, sgd

MEAN = (0.4914, 0.4822, 0.4465)  # of CIFAR-10's red, green and blue, pixels in [0, 1]
STD = (0.2470, 0.2435, 0.2616)
WHITENING_IMAGES = 5_000  # the first of the training images
WHITENING_SIZE = 2  # pixels, height and width of the whitening kernel
WHITENING_EPSILON = 5e-4
BATCHNORM_EPSILON = 1e-12
LOGIT_SCALE = 1 / 9
_AT_ONCE = 500  # images; all patches of one batch are in memory together


@dataclass(frozen=True, kw_only=True)
class Airbench:
    """A frozen whitening convolution, three groups of two 3x3 convolutions, max-pooling, Dense without bias.

    Between the convolutions are max-pooling, BatchNormalization with its scale fixed at 1, and exact GELU. No
    convolution but the whitening one has a bias. Each 3x3 convolution begins as near the identity as it can: its first
    filters, as many as it has inputs, each copy their input (Dirac).

    Attributes:
      widths: filters of the groups at 31x31, 15x15 and 7x7, before the pooling in each.
      momentum: of BatchNormalization's statistics. 0.6 at the source, for 10 epochs; 0.9 suits the longer training of a
        teacher.

    At widths 64, 256, 256, a multiply-accumulate (MAC) counted once:

      part                                       | output   | weights   | MMAC
      2x2 whitening convolution, no border       | 31x31x24 |       288 |   0.28
      group 1                                    | 15x15x64 |    50,688 |  21.58
      group 2                                    | 7x7x256  |   737,280 |  62.08
      group 3                                    | 3x3x256  | 1,179,648 |  34.21
      3x3 max-pooling, Dense                     | 10       |     2,560 |   0.00
      all, with 24 biases and 1,152 shifts       |          | 1,971,640 | 118.15
    """

    widths: tuple[int, int, int] = (64, 256, 256)
    momentum: float = 0.9

    def __post_init__(self) -> None:
        check_widths("airbench", self.widths)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"airbench: momentum {self.momentum!r} is not in the range 0<=x<1.")
        object.__setattr__(self, "widths", tuple(self.widths))

    def build(self, images: np.ndarray) -> Any:
        """A Keras 3 model, float32 [b, 32, 32, 3] in [0, 1] -> logits float32 [b, 10].

        The whitening kernel does not train. A copy of the model, or the model out of a file, forgets that.

        Args:
          images: uint8 [n, 32, 32, 3], of training; the first 5,000 give the whitening kernel.
        """
        if images.dtype != np.uint8 or images.shape[1:] != INPUT_SHAPE or not len(images):
            raise ValueError(
                f"airbench: {images.dtype} {list(images.shape)} are no training images: "
                f"give uint8 [n, {', '.join(map(str, INPUT_SHAPE))}], n above 0."
            )
        layers = backend.keras().layers
        image = layers.Input(INPUT_SHAPE, name="image")
        variance = [deviation**2 for deviation in STD]
        x = layers.Normalization(mean=list(MEAN), variance=variance, name="normalize")(image)
        whitening = layers.Conv2D(
            2 * WHITENING_SIZE**2 * INPUT_SHAPE[-1], WHITENING_SIZE, name="whiten"
        )
        x = layers.Activation("gelu", name="gelu0")(whitening(x))
        pixels = images[:WHITENING_IMAGES].astype(np.float32) / 255
        normalized = (pixels - np.array(MEAN)) / np.array(STD)
        whitening.kernel.assign(whitening_kernel(normalized, WHITENING_SIZE, WHITENING_EPSILON))
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


@dataclass(frozen=True, kw_only=True)
class AirbenchTraining:
    """How the network is trained as a teacher: data for whoever trains it, and the Keras optimizer it means.

    The source sums the loss over a batch of 1,024 and states a learning rate of 11.5 and a weight decay of 0.0153 as
    they would be without momentum. Here the loss is a mean, and both are what the optimizer takes: Nesterov momentum m
    moves 1 + 1 / (1 - m) times as far, and the weight decay is an L2 penalty, which passes through momentum.

    Epochs, translation and label smoothing are for a teacher; the source trains for 9.9 epochs with 2 pixels and 0.2.
    """

    epochs: int = 20
    batch_size: int = 1024  # what fills no batch sits out
    label_smoothing: float = (
        0.0  # smoothed teachers teach worse: Mueller et al. 2019, https://arxiv.org/abs/1906.02629
    )
    momentum: float = 0.85
    learning_rate: float = 11.5 / (1 + 1 / (1 - 0.85))  # 1.5, the highest one
    l2: float = 0.0153 / 11.5  # 1.33e-3
    shift_rate: float = (
        64.0  # learning rate of BatchNormalization's shifts, times that of the others: 96
    )
    # Of the learning rate: that of the first step, the fraction of steps at which it is highest, and the last of it.
    start: float = 0.2
    rise: float = 0.23
    end: float = 0.07
    whitening_bias_epochs: int = 3  # then it stays as it is
    # Chance decides which images are mirrored in the first epoch; in the next the others are, and so on in turn.
    alternating_flip: bool = True
    translation: int = 4  # pixels of reflected border from which a crop of the old size is taken

    def param_groups(self, steps_per_epoch: int) -> dict[str, ParamGroup]:
        """End of a variable's path -> its group. Shifts decay as fast as all others: rate times L2 is the same."""
        return {
            "whiten/bias": ParamGroup(
                l2=self.l2, steps=self.whitening_bias_epochs * steps_per_epoch
            ),
            "/beta": ParamGroup(learning_rate=self.shift_rate, l2=self.l2 / self.shift_rate),
            "": ParamGroup(l2=self.l2),
        }

    def optimizer(self, images: int) -> Any:
        """A Keras 3 optimizer for a mean loss over so many training images."""
        steps = images // self.batch_size
        if steps == 0:
            raise ValueError(f"airbench: {images} images fill no batch of {self.batch_size}.")
        schedule = TriangularSchedule(
            peak=self.learning_rate, start=self.start, rise=self.rise, end=self.end
        )
        return sgd(schedule.keras(self.epochs * steps), self.momentum, self.param_groups(steps))


def whitening_kernel(images: np.ndarray, size: int, epsilon: float) -> np.ndarray:
    """The kernel whose outputs, over all patches of the images, are uncorrelated and of mean square 1.

    Its filters are the eigenvectors of the patches' second moments, greatest eigenvalue first, each over
    sqrt(eigenvalue + epsilon), then the negatives of them all. The mean square of an output is therefore
    eigenvalue / (eigenvalue + epsilon): epsilon keeps directions of mere noise from being blown up.

    Args:
      images: float32 [n, h, w, c] as the kernel will see them.
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
    """A kernel [h, w, i, o] whose first `i` filters each copy one input; the others stay.

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
    """PyTorch's own start: uniform up to 1 / sqrt(inputs of a filter) either way."""
    return backend.keras().initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
