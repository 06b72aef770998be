"""The speedup of a network's training in bfloat16 on this machine."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from compress import backend
from compress.keras_models.model import KerasModel
from compress.training import losses as loss_terms
from compress.training.batches import batches
from compress.training.optimizer import optimizer_of
from compress.training.precision import Precision, computing_in
from compress.training.recipe import Recipe
from compress.training.training_data import TrainingData

ROUNDS = 5  # each round times both precisions, one after the other
STEPS = 4  # training steps in each precision in a round


def speedup(model: KerasModel, recipe: Recipe, data: TrainingData) -> float:
    """The speedup of training a copy of `model` in bfloat16: time in float32 divided by time in bfloat16.

    The smaller of two ratios: that of processor time, which other programs disturb little, and that of wall-clock time,
    which includes the time that threads wait.
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

    # The first round compiles both and is left out. The shortest time is the least disturbed.
    rounds = [[seconds(*twin) for twin in twins] for _ in range(1 + ROUNDS)][1:]
    shortest = np.array(rounds).min(axis=0)  # [precision, kind of time]
    return float(np.round((shortest[0] / shortest[1]).min(), 2))
