"""WeightAverage: exponential averages of the trained variables, which are validated and kept in their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from compress import backend
from compress.keras_models.layers import every_layer, is_batchnorm


@dataclass
class _Averaged:
    """A variable and its average.

    A statistic of BatchNormalization is already an average, with a constant momentum. Its average here is therefore
    that of the statistics of the batches, each computed from the change of the variable.
    """

    variable: Any
    highest: float  # momentum of the average
    own: float = 0.0  # momentum of the variable, if it is an average itself
    least: float = float("-inf")

    def __post_init__(self) -> None:
        tf = backend.tensorflow()
        self.average = tf.Variable(self.variable, trainable=False)
        self.before = tf.Variable(self.variable, trainable=False)

    def follow(self, rising: Any) -> None:
        tf = backend.tensorflow()
        current = tf.convert_to_tensor(self.variable)
        value = tf.maximum(
            current + (current - self.before) * (self.own / (1 - self.own)), self.least
        )
        momentum = tf.cast(tf.minimum(rising, self.highest), current.dtype)
        self.average.assign_add((value - self.average) * (1 - momentum))
        self.before.assign(current)


class WeightAverage:
    """The averages of a model's weights and of its BatchNormalization's statistics.

    The momentum of step n, from 0, is min(momentum, (1 + n) / (10 + n)), as in `tf.train.ExponentialMovingAverage` with
    `num_updates`: low at first, so that the initial weights are soon forgotten. That of the statistics rises in the
    same way to their layer's momentum, so that they fit the averaged weights.
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
        """Give the model its averages."""
        for each in self._all:
            each.variable.assign(each.average)

    def callback(self, keras: Any) -> Any:
        """A Keras callback that updates the averages after each step, and has them validated."""
        tf, every, place = backend.tensorflow(), self._all, self.place

        @tf.function
        def follow(iterations: Any) -> None:
            done = tf.cast(iterations, "float32")  # with the step that has just been done
            for each in every:
                each.follow(done / (9 + done))

        class Averaging(keras.callbacks.Callback):
            def on_train_begin(self, logs: Any = None) -> None:
                for each in every:
                    each.before.assign(each.variable)

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                follow(tf.convert_to_tensor(self.model.optimizer.iterations))

            def on_test_begin(self, logs: Any = None) -> None:
                place()

            def on_test_end(self, logs: Any = None) -> None:
                for each in every:
                    each.variable.assign(each.before)

        return Averaging()
