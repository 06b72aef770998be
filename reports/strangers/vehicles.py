"""Train a network like MobileNetV3 on four kinds of vehicles at 48x48: `python vehicles.py CIFAR_FOLDER OUT`."""

from __future__ import annotations

import sys
from pathlib import Path

import cifar
import keras
import numpy as np
import tensorflow as tf
from keras import layers
from keras.applications.mobilenet_v2 import preprocess_input

EPOCHS = 16
BATCH = 64
SIZE = 48
VEHICLES = ["airplane", "automobile", "ship", "truck"]


def normalized(x):
    return layers.BatchNormalization(momentum=0.97)(x)


def activation(kind: str, x):
    return layers.ReLU(6.0)(x) if kind == "relu6" else layers.Activation("hard_swish")(x)


def squeeze_and_excite(x):
    filters = x.shape[-1]
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(filters // 4, 1, activation="relu")(gate)
    gate = layers.Conv2D(filters, 1, activation="hard_sigmoid")(gate)
    return layers.Multiply()([x, gate])


def inverted_residual(x, expanded: int, filters: int, stride: int, kind: str, squeezed: bool):
    y = activation(kind, normalized(layers.Conv2D(expanded, 1, use_bias=False)(x)))
    y = layers.DepthwiseConv2D(3, stride, "same", use_bias=False)(y)
    y = activation(kind, normalized(y))
    y = squeeze_and_excite(y) if squeezed else y
    y = normalized(layers.Conv2D(filters, 1, use_bias=False)(y))
    return layers.Add()([x, y]) if x.shape == y.shape else y


def mobile_net(width: int) -> keras.Model:
    """`width` is the number of filters of the first layer; all other layers have multiples of it."""
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(width, 3, 2, "same", use_bias=False)(image)
    x = activation("hard_swish", normalized(x))
    x = inverted_residual(x, 3 * width, 3 * width // 2, 2, "relu6", squeezed=True)
    x = inverted_residual(x, 9 * width // 2, 3 * width // 2, 1, "relu6", squeezed=False)
    x = inverted_residual(x, 6 * width, 5 * width // 2, 2, "hard_swish", squeezed=True)
    x = inverted_residual(x, 15 * width // 2, 5 * width // 2, 1, "hard_swish", squeezed=True)
    x = activation("hard_swish", normalized(layers.Conv2D(6 * width, 1, use_bias=False)(x)))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(len(VEHICLES), activation="softmax")(x))


def vehicles(folder: Path) -> dict[str, np.ndarray]:
    """The images of four classes, enlarged to 48x48, with labels from 0 to 3."""
    data = cifar.read(folder)
    chosen = [cifar.CLASSES.index(name) for name in VEHICLES]
    for split in ("train", "validation", "test"):
        x, y = data[f"x_{split}"], data[f"y_{split}"]
        x, y = x[np.isin(y, chosen)], y[np.isin(y, chosen)]
        larger = tf.image.resize(x, (SIZE, SIZE), "bicubic").numpy()
        data[f"x_{split}"] = larger.round().clip(0, 255).astype(np.uint8)
        data[f"y_{split}"] = np.searchsorted(chosen, y).astype(np.uint8)
    return data


def shifted_and_mirrored(image, label):
    image = tf.image.resize_with_crop_or_pad(image, SIZE + 10, SIZE + 10)
    image = tf.image.random_flip_left_right(tf.image.random_crop(image, (SIZE, SIZE, 3)))
    return preprocess_input(tf.cast(image, tf.float32)), label


def main(folder: Path, out: Path) -> None:
    keras.utils.set_random_seed(2)
    data = vehicles(folder)
    np.savez(out / "vehicles.npz", **data)
    train = tf.data.Dataset.from_tensor_slices((data["x_train"], data["y_train"]))
    train = train.shuffle(len(train)).map(shifted_and_mirrored, tf.data.AUTOTUNE).batch(BATCH)
    model = mobile_net(16)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, EPOCHS * len(train))
    model.compile(
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    validation = preprocess_input(data["x_validation"].astype("float32")), data["y_validation"]
    model.fit(train.prefetch(2), epochs=EPOCHS, validation_data=validation, verbose=2)
    model.save(out / "vehicles.h5")
    mobile_net(8).save(out / "vehicles-half.h5")  # an untrained student


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
