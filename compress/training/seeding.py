"""Seeds of Python, numpy, the backend and dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from compress import backend


def set_seed(keras: Any, seed: int, deterministic: bool) -> None:
    """Seed Python, numpy and the backend. `deterministic` also makes TensorFlow add in one fixed order."""
    keras.utils.set_random_seed(seed)
    if deterministic:
        backend.tensorflow().config.experimental.enable_op_determinism()


def seed_dropout(model: Any, seed: int) -> None:
    """Seed the dropout of a Keras 3 model, because a copied or loaded model has generators with random seeds."""
    weights = {id(w) for w in model.weights}
    states = [v for v in model.variables if id(v) not in weights and tuple(v.shape) == (2,)]
    for number, state in enumerate(states):
        state.assign(np.array([seed, number], dtype="uint32"))
