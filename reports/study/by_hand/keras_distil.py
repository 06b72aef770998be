"""A student of half the width by Keras's own Distiller: `python keras_distil.py DATA MODEL OUT --epochs 40`."""

import common
import keras
import numpy as np
import tensorflow as tf
from keras.distillation import Distiller, LogitsDistillation

asked = common.arguments(width=0.5)
keras.utils.set_random_seed(asked.seed)
splits = common.read(asked)
teacher = keras.models.load_model(asked.model)


def student():
    layers = keras.layers
    x = image = layers.Input((32, 32, 3))
    for block, filters in enumerate((24, 48, 68), start=1):
        filters = round(filters * asked.width)
        x = layers.Conv2D(filters, 3, padding="same")(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x) if block < 3 else x
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(round(120 * asked.width), activation="relu")(x)
    return keras.Model(image, layers.Dense(10)(x))


data, steps = common.augmented(*splits["train"], asked.epochs)
distiller = Distiller(
    teacher, student(), LogitsDistillation(temperature=4.0), student_loss_weight=0.1
)
rate = keras.optimizers.schedules.CosineDecay(0.1, steps * asked.epochs)
distiller.compile(
    optimizer=keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
distiller.fit(data, steps_per_epoch=steps, epochs=asked.epochs, verbose=2)
made = distiller.student
function = tf.function(lambda x: made(x, training=False))
concrete = function.get_concrete_function(tf.TensorSpec([1, 32, 32, 3], tf.float32))
asked.out.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete], made).convert())
right = np.argmax(made.predict(splits["validation"][0], verbose=0), 1) == splits["validation"][1]
print("validation", right.mean())
