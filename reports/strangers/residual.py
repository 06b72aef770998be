"""Train a small residual network that takes raw pixels on CIFAR-10: `python residual.py CIFAR_FOLDER OUT`."""

from __future__ import annotations

import sys
from pathlib import Path

import cifar
import keras
import numpy as np
import tensorflow as tf
from keras import layers

EPOCHS = 16
BATCH = 128
DECAY = keras.regularizers.L2(5e-4)


def convolution(x, filters: int, size: int, stride: int):
    x = layers.Conv2D(filters, size, stride, "same", use_bias=False, kernel_regularizer=DECAY)(x)
    return layers.BatchNormalization()(x)


def block(x, filters: int, stride: int):
    y = layers.Activation("swish")(convolution(x, filters, 3, stride))
    y = convolution(y, filters, 3, 1)
    if stride > 1:
        x = convolution(x, filters, 1, stride)
    return layers.Activation("swish")(layers.Add()([x, y]))


def residual_net(filters: tuple[int, int, int]) -> keras.Model:
    image = keras.Input((32, 32, 3))
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Activation("swish")(convolution(x, filters[0], 3, 1))
    for each, stride in zip(filters, (1, 2, 2), strict=True):
        x = block(x, each, stride)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10, kernel_regularizer=DECAY)(x))


def shifted_and_mirrored(image, label):
    image = tf.image.resize_with_crop_or_pad(image, 40, 40)
    image = tf.image.random_flip_left_right(tf.image.random_crop(image, (32, 32, 3)))
    return tf.cast(image, tf.float32), label


def main(folder: Path, out: Path) -> None:
    keras.utils.set_random_seed(1)
    data = cifar.read(folder)
    np.savez(out / "cifar.npz", **data)
    train = tf.data.Dataset.from_tensor_slices((data["x_train"], data["y_train"]))
    train = train.shuffle(45000).map(shifted_and_mirrored, tf.data.AUTOTUNE).batch(BATCH)
    model = residual_net((16, 32, 48))
    steps = EPOCHS * len(train)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps - 2 * len(train), warmup_target=0.1, warmup_steps=2 * len(train)
    )
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    validation = data["x_validation"].astype("float32"), data["y_validation"]
    model.fit(train.prefetch(2), epochs=EPOCHS, validation_data=validation, verbose=2)
    model.save(out / "residual.keras")
    residual_net((8, 16, 24)).save(out / "residual-half.keras")  # an untrained student


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
