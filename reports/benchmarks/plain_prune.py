"""A script that a user writes without this toolkit: tf_keras and tfmot by hand, as tfmot's own guide shows it.

Prunes half of the weights of the trained baseline in EPOCHS epochs at batch size 128, and exports both models. Measures
the exported files on the test images with LiteRT, and prints the accuracies. It has no resume, no rows and no checks.
`prune_wall_time.py` times it against `compress run`.

Usage: python plain_prune.py BASELINE.keras FOLDER_OF_BINARY_BATCHES EPOCHS
"""

import io
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from ai_edge_litert.interpreter import Interpreter

BATCH = 128
baseline_file, data, EPOCHS = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])


def read(name):
    records = np.fromfile(data / name, np.uint8).reshape(-1, 3073)
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0]


def build():
    x = image = tf_keras.layers.Input((32, 32, 3))
    for block, filters in enumerate((24, 48, 68), start=1):
        x = tf_keras.layers.Conv2D(filters, 3, padding="same", name=f"conv{block}a")(x)
        x = tf_keras.layers.BatchNormalization(name=f"norm{block}")(x)
        x = tf_keras.layers.ReLU()(x)
        x = tf_keras.layers.Conv2D(filters, 3, padding="same", name=f"conv{block}b")(x)
        x = tf_keras.layers.ReLU()(x)
        if block < 3:
            x = tf_keras.layers.MaxPooling2D()(x)
    x = tf_keras.layers.GlobalAveragePooling2D()(x)
    x = tf_keras.layers.Dense(120, activation="relu", name="dense")(x)
    return tf_keras.Model(image, tf_keras.layers.Dense(10, name="logits")(x))


def load_weights(model):
    with zipfile.ZipFile(baseline_file) as archive:
        weights = h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r")["layers"]
    named = {str(g["vars"].attrs["name"]): g["vars"] for g in weights.values()}
    for layer in model.layers:
        if layer.weights:
            stored = named[layer.name]
            layer.set_weights([stored[str(i)][()] for i in range(len(stored))])


def accuracy(content, images, labels):
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    taken, given = (
        interpreter.get_input_details()[0]["index"],
        interpreter.get_output_details()[0]["index"],
    )
    right = 0
    for image, label in zip(images, labels, strict=True):
        interpreter.set_tensor(taken, image[None])
        interpreter.invoke()
        right += int(interpreter.get_tensor(given)[0].argmax() == label)
    return right / len(labels)


def export(model):
    function = tf.function(lambda x: model(x, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec([1, 32, 32, 3], tf.float32))
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()


batches = [read(f"data_batch_{i}.bin") for i in range(1, 6)]
images = np.concatenate([b[0] for b in batches]).astype(np.float32) / 255
labels = np.concatenate([b[1] for b in batches]).astype(np.int64)
chosen = np.random.default_rng(0).permutation(len(images))
train, validation = chosen[:42_500], chosen[42_500:]

model = build()
load_weights(model)
before = export(model)
steps = len(train) // BATCH * EPOCHS
pruned = tfmot.sparsity.keras.prune_low_magnitude(
    model,
    pruning_schedule=tfmot.sparsity.keras.PolynomialDecay(
        0.0, 0.5, begin_step=0, end_step=steps * 3 // 4
    ),
)
pruned.compile(
    optimizer=tf_keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
    loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
pruned.fit(
    images[train],
    labels[train],
    batch_size=BATCH,
    epochs=EPOCHS,
    validation_data=(images[validation], labels[validation]),
    callbacks=[tfmot.sparsity.keras.UpdatePruningStep()],
    verbose=2,
)
after = export(tfmot.sparsity.keras.strip_pruning(pruned))
Path("plain.tflite").write_bytes(after)
test_images, test_labels = read("test_batch.bin")
test_images = test_images.astype(np.float32) / 255
print("baseline", accuracy(before, test_images, test_labels))
print("pruned", accuracy(after, test_images, test_labels))
