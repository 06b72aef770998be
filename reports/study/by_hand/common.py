"""Shared code of the scripts by hand: arguments, data, models, the CNN in Keras 2, augmentation, int8 export.

It imports nothing of this toolkit. It is the code that a user writes without it, after the guides of the libraries.
"""

import argparse
import contextlib
import io
import tempfile
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import tensorflow as tf
import tf_keras

BATCH = 128


def arguments(**options):
    """Parse DATA.npz MODEL.keras OUT.tflite, --epochs, --seed, the scaling of pixels, and options with defaults."""
    parser = argparse.ArgumentParser()
    for name in ("data", "model", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1 / 255, help="of pixels, for the model")
    parser.add_argument("--mean", type=float, default=0.0, help="then taken from them")
    parser.add_argument("--std", type=float, default=1.0, help="then they are divided by it")
    for name, default in options.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    asked = parser.parse_args()
    tf_keras.utils.set_random_seed(asked.seed)
    return asked


def read(asked):
    """Images float32, scaled for the model, and labels of the splits "train" and "validation"."""
    stored = np.load(asked.data)
    splits = {}
    for split in ("train", "validation"):
        images = stored[f"x_{split}"].astype(np.float32) * np.float32(asked.scale)
        images = (images - np.float32(asked.mean)) / np.float32(asked.std)
        splits[split] = images, stored[f"y_{split}"].astype(np.int64)
    return splits


@contextlib.contextmanager
def converter_of(path):
    """A converter of the Keras 3 model of a file, for scripts that do not train it. It reads a temporary folder."""
    model = keras.models.load_model(path, compile=False)
    with tempfile.TemporaryDirectory() as folder:
        one = keras.InputSpec(shape=(1, *model.input_shape[1:]), dtype="float32")
        model.export(folder, input_signature=[one], verbose=False)
        yield tf.lite.TFLiteConverter.from_saved_model(folder)


def plain(width=1.0):
    """The baseline CNN, without weights."""
    layers = tf_keras.layers
    x = image = layers.Input((32, 32, 3))
    for block, filters in enumerate((24, 48, 68), start=1):
        filters = round(filters * width)
        x = layers.Conv2D(filters, 3, padding="same", name=f"conv{block}a")(x)
        x = layers.BatchNormalization(name=f"norm{block}")(x)
        x = layers.ReLU()(x)
        x = layers.Conv2D(filters, 3, padding="same", name=f"conv{block}b")(x)
        x = layers.ReLU()(x)
        if block < 3:
            x = layers.MaxPooling2D()(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(round(120 * width), activation="relu", name="dense")(x)
    return tf_keras.Model(image, layers.Dense(10, name="logits")(x))


def baseline(path):
    """The baseline CNN in Keras 2, with the weights of a Keras 3 file."""
    model = plain()
    with zipfile.ZipFile(path) as archive:
        weights = h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r")["layers"]
    named = {str(group["vars"].attrs["name"]): group["vars"] for group in weights.values()}
    for layer in model.layers:
        if layer.weights:
            stored = named[layer.name]
            layer.set_weights([stored[str(i)][()] for i in range(len(stored))])
    return model


def augmented(images, labels, epochs):
    """Batches of `epochs` epochs, mirrored and cropped: a tf.data.Dataset, and the steps of one epoch."""

    def changed(image, label):
        image = tf.pad(image, [(4, 4), (4, 4), (0, 0)], "REFLECT")
        return tf.image.random_flip_left_right(tf.image.random_crop(image, (32, 32, 3))), label

    batch = min(BATCH, len(images))
    data = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(images)).repeat(epochs)
    steps = len(images) // batch
    return data.map(changed, tf.data.AUTOTUNE).batch(batch, drop_remainder=True).prefetch(2), steps


def train(model, splits, epochs, rate=0.02, callbacks=()):
    """Fine-tune with SGD, Nesterov momentum and a cosine schedule, as the baseline's own fine-tuning does."""
    data, steps = augmented(*splits["train"], epochs)
    schedule = tf_keras.optimizers.schedules.CosineDecay(rate, steps * epochs)
    model.compile(
        optimizer=tf_keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True),
        loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(
        data,
        steps_per_epoch=steps,
        epochs=epochs,
        validation_data=splits["validation"],
        callbacks=list(callbacks),
        verbose=2,
    )
    return model


def int8(model, images=None):
    """The full-integer file of a model. Images calibrate it; none are needed if training has set its ranges."""
    function = tf.function(lambda x: model(x, training=False))
    concrete = function.get_concrete_function(
        tf.TensorSpec([1, *model.input_shape[1:]], tf.float32)
    )
    return in_int8(tf.lite.TFLiteConverter.from_concrete_functions([concrete], model), images)


def in_int8(converter, images=None):
    """The full-integer file that a converter makes."""
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    if images is not None:
        converter.representative_dataset = lambda: ([image[None]] for image in images[:500])
    return converter.convert()
