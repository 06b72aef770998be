"""Tiny classifiers of 12x12x3 images in 3 classes, one for each kind of layer in user models, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from baselines.toy import Toy
from compress import backend
from compress.data.dataset import Dataset, Note, Split
from compress.keras_models.model import KerasModel
from support.model_zoo import CLASSES, IMAGE, randomised

# Every stage as typed, with options that let it take seconds.
STAGES = (
    "prune --epochs 1 --learning-rate 0.01",
    "prune-filters --macs 0.25 --round-to 1 --epochs 1 --learning-rate 0.01",
    "quantize --scheme int8 --calibration 4",
    "quantize --scheme int4 --calibration 4",
    "quantize --scheme int16x8 --calibration 4",
    "quantize --scheme float16",
    "quantize --scheme dynamic",
    "qat --epochs 1 --learning-rate 0.01 --calibration 4",
    "qat --bits 4 --epochs 1 --learning-rate 0.01 --calibration 4",
    "cluster --clusters 4 --epochs 1 --learning-rate 0.01",
    "distill --epochs 1",
    "finetune --epochs 1 --learning-rate 0.01",
)

Middle = Callable[[Any, Any], Any]  # keras.layers, an image [12, 12, 6] -> an image


class Handful(Toy):
    """The toy task with few of its images."""

    name: ClassVar = "toy"
    version: ClassVar[int] = 1

    def load(self, path: Path | None, note: Note) -> Dataset:
        whole = Toy.load(self, path, note)
        test = _first(whole.open_test(), 12)
        train, validation = _first(whole.train, 64), _first(whole.validation, 12)
        return replace(whole, train=train, validation=validation, open_test=lambda: test)


def _first(split: Split, n: int) -> Split:
    return Split(split.images[:n], split.labels[:n])


def _with(middle: Middle, softmax: bool = False) -> KerasModel:
    """An image classifier with some layers between its first convolution and its head."""
    keras, k = backend.keras(), backend.keras().layers
    image = k.Input(IMAGE, name="image")
    x = k.Conv2D(6, 3, padding="same", name="stem")(image)
    x = k.ReLU(name="relu")(k.BatchNormalization(name="norm")(x))
    x = k.Conv2D(8, 3, strides=2, name="last")(middle(k, x))
    x = k.GlobalAveragePooling2D(name="pool")(x)
    head = k.Dense(CLASSES, activation="softmax" if softmax else None, name="scores")
    return KerasModel(randomised(keras.Model(image, head(x))))


def _begun_with(first: Any) -> KerasModel:
    k = backend.keras().layers
    stack = [k.Input(IMAGE), first, k.Conv2D(6, 3, name="conv"), k.ReLU(name="relu")]
    stack += [k.Conv2D(8, 3, name="last"), k.GlobalAveragePooling2D(), k.Dense(CLASSES)]
    return KerasModel(backend.keras().Sequential(stack))


def _squeeze_and_excitation(k: Any, x: Any) -> Any:
    gate = k.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
    gate = k.Conv2D(2, 1, activation="relu", name="reduce")(gate)
    gate = k.Conv2D(6, 1, activation="hard_sigmoid", name="excite")(gate)
    return k.Multiply(name="gated")([x, gate])


def _residual(k: Any, x: Any) -> Any:
    y = k.Conv2D(6, 3, padding="same", name="inside")(x)
    return k.ReLU(name="relu_sum")(k.Add(name="sum")([x, k.BatchNormalization(name="norm2")(y)]))


def _concatenated(k: Any, x: Any) -> Any:
    branches = [k.Conv2D(4, size, padding="same", name=f"conv{size}")(x) for size in (1, 3)]
    return k.ReLU(name="relu_both")(k.Concatenate(name="both")(branches))


def _along_rows() -> KerasModel:
    k = backend.keras().layers
    stack = [k.Input(IMAGE), k.Reshape((12, 36), name="rows"), k.Conv1D(8, 3, name="conv")]
    stack += [k.BatchNormalization(name="norm"), k.ReLU(name="relu"), k.MaxPooling1D(name="pool")]
    stack += [k.Conv1D(8, 3, name="last"), k.GlobalAveragePooling1D(), k.Dense(CLASSES)]
    return KerasModel(randomised(backend.keras().Sequential(stack)))


def _dense_only() -> KerasModel:
    k = backend.keras().layers
    stack = [k.Input(IMAGE), k.Flatten(name="flat"), k.Dense(16, activation="relu", name="first")]
    stack += [k.Dense(12, name="second"), k.ReLU(name="relu"), k.Dense(CLASSES, name="scores")]
    return KerasModel(randomised(backend.keras().Sequential(stack)))


def _normalized() -> KerasModel:
    k, mean = backend.keras().layers, np.array([0.4, 0.5, 0.6], np.float32)
    return _begun_with(k.Normalization(mean=mean, variance=mean**2, name="normalize"))


MODELS: dict[str, Callable[[], KerasModel]] = {
    "hard-swish": lambda: _with(lambda k, x: k.Activation("hard_silu", name="swish")(x)),
    "silu": lambda: _with(lambda k, x: k.Activation("silu", name="swish")(x)),
    "silu in the layer": lambda: _with(lambda k, x: k.Conv2D(6, 1, activation="silu")(x)),
    "leaky relu": lambda: _with(lambda k, x: k.LeakyReLU(name="leaky")(x)),
    "prelu": lambda: _with(lambda k, x: k.PReLU(shared_axes=[1, 2], name="slopes")(x)),
    "squeeze and excitation": lambda: _with(_squeeze_and_excitation),
    "separable": lambda: _with(lambda k, x: k.SeparableConv2D(8, 3, name="separable")(x)),
    "grouped": lambda: _with(lambda k, x: k.Conv2D(8, 3, groups=2, name="grouped")(x)),
    "zero padding": lambda: _with(lambda k, x: k.ZeroPadding2D(((0, 1), (0, 1)), name="pad")(x)),
    "rescaling": lambda: _begun_with(backend.keras().layers.Rescaling(2.0, -1.0, name="scale")),
    "normalization": _normalized,
    "softmax head": lambda: _with(lambda k, x: x, softmax=True),
    "conv1d": _along_rows,
    "dense only": _dense_only,
    "residual": lambda: _with(_residual),
    "concatenated": lambda: _with(_concatenated),
    "depthwise": lambda: _with(lambda k, x: k.DepthwiseConv2D(3, padding="same", name="deep")(x)),
}
