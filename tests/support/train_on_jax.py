"""A program to start with KERAS_BACKEND=jax: it runs commands, averages weights, and prints what it imported.

Arguments: the words of the commands, as a JSON list of lists. For the last line of its output, see `main`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

from compress import backend
from compress.cli.main import cli
from compress.training.weight_average import WeightAverage

MOMENTUM = 0.4  # reached at the sixth step


def main() -> None:
    for words in json.loads(sys.argv[1]):
        cli(words, standalone_mode=False)
    averaged = averages()
    print(json.dumps({"tensorflow": "tensorflow" in sys.modules, "averages": averaged}))


def averages() -> dict[str, Any]:
    """The weight average of a layer after two epochs of four steps: as training gives it, and worked out by hand."""
    keras = backend.keras()
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, use_bias=False)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    average = WeightAverage(model, MOMENTUM)
    seen: list[np.ndarray] = []

    class Seeing(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.jax_state_sync()
            seen.append(self.model.get_weights()[0].copy())

    (expected,) = model.get_weights()
    x, y = np.random.default_rng(0).random((2, 16, 3), np.float32)
    callbacks = [average.callback(keras), Seeing()]
    data = (x, y[:, :2])
    model.fit(
        *data, epochs=2, batch_size=4, verbose=0, callbacks=callbacks, validation_data=data
    )  # fmt: skip
    average.place()
    for step, weights in enumerate(seen):
        m = min(MOMENTUM, (1 + step) / (10 + step))
        expected = m * expected + (1 - m) * weights
    (given,) = model.get_weights()
    return {"given": given.tolist(), "expected": expected.tolist(), "last": seen[-1].tolist()}


if __name__ == "__main__":
    main()
