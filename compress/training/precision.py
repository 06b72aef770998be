"""Precision of a training: which layers compute in bfloat16, and how much faster that is on this machine."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from compress import backend
from compress.keras_models.layers import every_layer
from compress.keras_models.model import KerasModel
from compress.training import losses as loss_terms
from compress.training.batches import batches
from compress.training.fused_batchnorm import can_fuse, fuse, unfuse
from compress.training.optimizer import optimizer_of
from compress.training.recipe import Recipe
from compress.training.training_data import Precision, TrainingData

MIXED = "mixed_bfloat16"  # Keras's policy: variables stay float32, what is computed from them is bfloat16
ROUNDS = 5  # in each of which both precisions are timed, one after the other
STEPS = 4  # of a round in each precision


def layers_in_bfloat16(model: Any) -> list[Any]:
    """The layers of a Keras 3 model that a training in bfloat16 computes in it.

    They are those from the first with a kernel up to the last one, which with all after it gives the logits in
    float32. What comes before the first kernel, such as a Normalization, keeps the pixels exact. A Lambda and layers
    that are not of Keras stay as they are, because their code may not take bfloat16.
    """
    layers = [layer for layer in every_layer(model) if not hasattr(layer, "layers")]
    kernels = [
        place
        for place, layer in enumerate(layers)
        if any(len(weight.shape) > 1 for weight in layer.weights)
    ]
    between = layers[kernels[0] : kernels[-1]] if kernels else []
    return [
        layer
        for layer in between
        if type(layer).__module__.startswith("keras.")
        and type(layer) is not backend.keras().layers.Lambda
        and layer.dtype_policy.name == "float32"
    ]


@contextlib.contextmanager
def computing_in(precision: Precision, model: Any, keras: Any) -> Iterator[list[Any]]:
    """Have `model` compute in a precision for the time of the block. Gives the Keras callbacks that a fit then needs.

    Variables, and so the weights, the optimizer and the statistics of BatchNormalization, are float32 throughout. A
    model of tf_keras always computes in float32.
    """
    if precision == "float32" or keras is not backend.keras():
        yield []
        return
    own = [(layer, layer.dtype_policy) for layer in layers_in_bfloat16(model)]

    def set_mixed() -> None:
        for layer, _ in own:
            layer.dtype_policy = keras.DTypePolicy(MIXED)

    def set_own() -> None:
        for layer, policy in own:
            layer.dtype_policy = policy

    class ValidateAsSaved(keras.callbacks.Callback):
        """Validate in float32: the model is saved, exported and measured so."""

        def on_test_begin(self, logs: Any = None) -> None:
            set_own()

        def on_test_end(self, logs: Any = None) -> None:
            set_mixed()

    fused = [layer for layer, _ in own if can_fuse(layer)]
    set_mixed()
    for layer in fused:
        fuse(layer)
    try:
        yield [ValidateAsSaved()]
    finally:
        set_own()
        for layer in fused:
            unfuse(layer)


def speedup(model: KerasModel, recipe: Recipe, data: TrainingData) -> float:
    """How many times as fast as in float32 a copy of `model` is trained in bfloat16.

    The smaller of two quotients: of the time of the processor, which other programs disturb little, and of the time on
    the clock, which counts what threads wait for.
    """
    keras = backend.keras()
    classes, scale = model.classes, data.input_scale
    images, labels = next(batches(data.train, classes, recipe, scale, seed=0, done=0))
    twins: list[tuple[Precision, Any]] = [
        (precision, model.copy().keras) for precision in ("float32", "bfloat16")
    ]
    for _, twin in twins:
        twin.compile(
            optimizer=optimizer_of(recipe, STEPS, keras),
            loss=loss_terms.loss(twin, recipe, None, keras),
            jit_compile=False if backend.uses_tensorflow(keras) else "auto",
        )

    def seconds(precision: Precision, twin: Any) -> tuple[float, float]:
        with computing_in(precision, twin, keras):
            busy, clock = time.process_time(), time.perf_counter()
            for _ in range(STEPS):
                twin.train_on_batch(images, labels)
            return time.process_time() - busy, time.perf_counter() - clock

    # The first round compiles both. The shortest time is the least disturbed.
    rounds = [[seconds(*twin) for twin in twins] for _ in range(1 + ROUNDS)][1:]
    shortest = np.array(rounds).min(axis=0)  # [precision, kind of time]
    return float(np.round((shortest[0] / shortest[1]).min(), 2))
