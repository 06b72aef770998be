"""WeightAverage: the exponential average of what training moves, which is validated and kept in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from compress import backend
from compress.keras_models.layers import every_layer, is_batchnorm


@dataclass
class _Averaged:
    """A variable and its average.

    A statistic of BatchNormalization is an average already, by a momentum of its own that does not rise. What is
    averaged of it is therefore what each batch had, read off how the variable moved.
    """

    variable: Any
    highest: float  # momentum of the average
    own: float = 0.0  # momentum by which the variable is an average itself
    least: float = float("-inf")

    def __post_init__(self) -> None:
        tf = backend.tensorflow()
        self.average = tf.Variable(self.variable, trainable=False)
        self.before = tf.Variable(self.variable, trainable=False)

    def follow(self, rising: Any) -> None:
        tf = backend.tensorflow()
        now = tf.convert_to_tensor(self.variable)
        value = tf.maximum(now + (now - self.before) * (self.own / (1 - self.own)), self.least)
        momentum = tf.cast(tf.minimum(rising, self.highest), now.dtype)
        self.average.assign_add((value - self.average) * (1 - momentum))
        self.before.assign(now)


class WeightAverage:
    """The averages of a model's weights and of its BatchNormalization's statistics.

    A step with the number n, from 0, leaves of an average min(momentum, (1 + n) / (10 + n)), as
    `tf.train.ExponentialMovingAverage` with `num_updates`: little at first, so that the start is soon forgotten. The
    statistics rise to their layer's momentum in the same way, so that they are of the weights that are kept.
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
        """A Keras callback that follows the training, and has the averages validated."""
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
