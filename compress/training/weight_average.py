"""WeightAverage: exponential averages of the weights, which are validated and kept in place of the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from compress import backend
from compress.keras_models.layers import every_layer, is_batchnorm


@dataclass
class _Averaged:
    """A variable and its average.

    A statistic of BatchNormalization is already an average, with a constant momentum. This class therefore averages
    the statistics of the batches. It computes each of them from the change of the variable.
    """

    variable: Any
    highest: float  # highest momentum of the average
    own: float = 0.0  # momentum of the variable, if it is an average itself
    least: float = float("-inf")

    def __post_init__(self) -> None:
        keras = backend.keras()
        self.average = keras.Variable(np.array(self.variable), trainable=False)
        self.before = keras.Variable(np.array(self.variable), trainable=False)

    def follow(self, rising: Any) -> None:
        ops = backend.keras().ops
        current, before = (ops.convert_to_tensor(v) for v in (self.variable, self.before))
        value = ops.maximum(current + (current - before) * (self.own / (1 - self.own)), self.least)
        momentum = ops.cast(ops.minimum(rising, self.highest), current.dtype)
        self.average.assign_add((value - ops.convert_to_tensor(self.average)) * (1 - momentum))
        _assign(self.before, current)


def _assign(variable: Any, value: Any) -> None:
    # Assign a copy, because JAX reuses the memory of a model's variables in its next step.
    variable.assign(backend.keras().ops.copy(value))


class WeightAverage:
    """The averages of a model's weights and of its BatchNormalization's statistics.

    The momentum of step n, from 0, is min(momentum, (1 + n) / (10 + n)), as in `tf.train.ExponentialMovingAverage` with
    `num_updates`. It is low at first, so that the initial weights are soon forgotten. The momentum of the statistics
    rises in the same way to their layer's momentum, so that the statistics fit the averaged weights.
    """

    def __init__(self, model: Any, momentum: float) -> None:
        self._all = [_Averaged(v, momentum) for v in model.trainable_variables]
        for layer in every_layer(model):
            if is_batchnorm(layer) and layer.momentum < 1:
                own = layer.momentum
                self._all.append(_Averaged(layer.moving_mean, own, own))
                # Rounding must not make a variance negative.
                self._all.append(_Averaged(layer.moving_variance, own, own, least=0.0))

    @property
    def variables(self) -> list[Any]:
        """The averages."""
        return [each.average for each in self._all]

    def place(self) -> None:
        """Replace the model's variables by their averages."""
        for each in self._all:
            _assign(each.variable, each.average)

    def callback(self, keras: Any) -> Any:
        """A Keras callback that updates the averages after each step, and puts them into the model for validation."""
        ops, every, place = backend.keras().ops, self._all, self.place

        def follow(iterations: Any) -> None:
            done = ops.cast(iterations, "float32")  # includes the step that has just ended
            for each in every:
                each.follow(done / (9 + done))

        if on_tensorflow := backend.uses_tensorflow(keras):
            follow = backend.tensorflow().function(follow)

        class Averaging(keras.callbacks.Callback):
            def on_train_begin(self, logs: Any = None) -> None:
                for each in every:
                    _assign(each.before, each.variable)

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                if not on_tensorflow:
                    self.model.jax_state_sync()  # gives the variables the values of this step
                follow(ops.convert_to_tensor(self.model.optimizer.iterations))

            def on_test_begin(self, logs: Any = None) -> None:
                place()

            def on_test_end(self, logs: Any = None) -> None:
                for each in every:
                    _assign(each.variable, each.before)

        return Averaging()
