"""Tiny versions of user models: a builder for each structure, 12x12x3 images to 3 numbers, random weights."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from compress import backend

IMAGE = (12, 12, 3)
CLASSES = 3


def images(n: int = 4, seed: int = 1) -> np.ndarray:
    """Random images in [0, 1]: float32 [n, 12, 12, 3]."""
    return np.random.default_rng(seed).random((n, *IMAGE), dtype=np.float32)


def outputs(model: Any, given: np.ndarray) -> np.ndarray:
    """The outputs of a Keras model for images in inference mode."""
    return np.array(model(given, training=False))


def randomised(model: Any, seed: int = 0) -> Any:
    """The model with random weights; kernels are smaller the more inputs they have."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if not str(variable.dtype).removeprefix("<dtype: '").startswith("float32"):
            continue
        shape, path = tuple(variable.shape), getattr(variable, "path", variable.name)
        if "variance" in path or "gamma" in path:
            values = rng.uniform(0.5, 1.5, shape)
        elif "kernel" in path:
            values = rng.normal(0, np.prod(shape[:-1]) ** -0.5, shape)
        else:
            values = rng.normal(0, 0.3, shape)
        variable.assign(values.astype(np.float32))
    return model


def _layers() -> Any:
    return backend.keras().layers


def _model(image: Any, x: Any) -> Any:
    return randomised(backend.keras().Model(image, _layers().Dense(CLASSES, name="logits")(x)))


def _conv_norm_relu(x: Any, filters: int, name: str) -> Any:
    k = _layers()
    x = k.Conv2D(filters, 3, padding="same", use_bias=False, name=name)(x)
    return k.ReLU(name=f"{name}_relu")(k.BatchNormalization(name=f"{name}_norm")(x))


def sequential() -> Any:
    """Convolution, BatchNormalization, pooling and Dense in sequence."""
    k = _layers()
    stack = [
        k.Input(IMAGE),
        k.Conv2D(6, 3, padding="same"),
        k.BatchNormalization(),
        k.ReLU(),
        k.MaxPooling2D(),
        k.Conv2D(8, 3, activation="relu"),
        k.GlobalAveragePooling2D(),
        k.Dropout(0.2),
        k.Dense(CLASSES),
    ]
    return randomised(backend.keras().Sequential(stack))


def residual() -> Any:
    """Two residual blocks, one with a plain shortcut and one with a 1x1 convolution on the shortcut."""
    k = _layers()
    image = k.Input(IMAGE, name="image")
    x = _conv_norm_relu(image, 6, "stem")
    x = k.Add(name="add1")([x, _conv_norm_relu(x, 6, "block1")])
    shortcut = k.Conv2D(8, 1, strides=2, name="shortcut")(x)
    y = k.Conv2D(8, 3, strides=2, padding="same", name="block2")(x)
    x = k.ReLU(name="relu2")(shortcut + k.BatchNormalization(name="norm2")(y))
    return _model(image, k.GlobalAveragePooling2D(name="pool")(x))


def depthwise() -> Any:
    """Depthwise and pointwise convolutions, as separate layers and as one layer."""
    k = _layers()
    image = k.Input(IMAGE, name="image")
    x = _conv_norm_relu(image, 6, "stem")
    x = k.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(x)
    x = k.ReLU(6.0, name="relu1")(k.BatchNormalization(name="norm1")(x))
    x = _conv_norm_relu(k.Conv2D(8, 1, name="pointwise")(x), 8, "middle")
    x = k.SeparableConv2D(8, 3, strides=2, name="separable")(x)
    x = k.ReLU(name="relu2")(k.BatchNormalization(name="norm2")(x))
    return _model(image, k.GlobalAveragePooling2D(name="pool")(x))


def flatten_head() -> Any:
    """Dense layers on all pixels of the last feature map."""
    k = _layers()
    image = k.Input(IMAGE, name="image")
    x = k.MaxPooling2D(3, name="pool1")(_conv_norm_relu(image, 6, "conv1"))
    x = k.MaxPooling2D(2, name="pool2")(_conv_norm_relu(x, 8, "conv2"))
    x = k.Flatten(name="flat")(x)
    x = k.Dropout(0.3, name="dropout")(k.Dense(10, activation="relu", name="hidden")(x))
    return _model(image, x)


def branches() -> Any:
    """Parallel kernels of three sizes whose channels are concatenated."""
    k = _layers()
    image = k.Input(IMAGE, name="image")
    x = _conv_norm_relu(image, 6, "stem")
    wide = k.Conv2D(4, 5, padding="same", activation="relu", name="wide")(x)
    narrow = k.Conv2D(4, 1, activation="relu", name="narrow")(x)
    pooled = k.Conv2D(4, 1, name="pooled")(k.AveragePooling2D(3, 1, padding="same")(x))
    x = _conv_norm_relu(k.Concatenate(name="together")([wide, narrow, pooled]), 8, "mix")
    return _model(image, k.GlobalMaxPooling2D(name="pool")(x))


def nested() -> Any:
    """A backbone and a head; the backbone contains a block whose layers have the same names."""
    keras, k = backend.keras(), _layers()
    inside = k.Input((12, 12, 6), name="inside")
    block = keras.Model(inside, inside + _conv_norm_relu(inside, 6, "conv"), name="block")
    start = k.Input(IMAGE, name="start")
    backbone = keras.Model(start, block(_conv_norm_relu(start, 6, "conv")), name="backbone")
    image = k.Input(IMAGE, name="image")
    return _model(image, k.GlobalAveragePooling2D(name="pool")(backbone(image)))


KERAS_3: dict[str, Callable[[], Any]] = {
    build.__name__: build
    for build in (sequential, residual, depthwise, flatten_head, branches, nested)
}


def keras_2(path: Path) -> Any:
    """Write a Keras 2 `.h5` of a functional model with a shortcut around a block; return the tf_keras model."""
    tf_keras = importlib.import_module("tf_keras")
    k = tf_keras.layers
    x = image = k.Input(IMAGE, name="image")
    x = k.ReLU(name="relu1")(
        k.BatchNormalization(name="norm1")(k.Conv2D(6, 3, padding="same", name="conv1")(x))
    )
    y = k.Conv2D(6, 3, padding="same", activation="relu", name="conv2")(x)
    x = k.Concatenate(name="together")([k.Add(name="add")([x, y]), x])
    x = k.Flatten(name="flat")(k.MaxPooling2D(4, name="pool")(x))
    model = randomised(tf_keras.Model(image, k.Dense(CLASSES, name="logits")(x)))
    with warnings.catch_warnings(action="ignore"):  # a warning that HDF5 is old
        tf_keras.models.save_model(model, path)
    return model


def saved(name: str, folder: Path) -> Path:
    """Save one of the models of `NAMES` as a user would, and return its file."""
    if name == "keras_2":
        keras_2(folder / "keras_2.h5")
        return folder / "keras_2.h5"
    KERAS_3[name]().save(folder / f"{name}.keras")
    return folder / f"{name}.keras"


NAMES = (*KERAS_3, "keras_2")
