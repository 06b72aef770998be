"""SGD with parameter groups, each with a learning rate, an L2 penalty and an epoch count; a triangular schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from compress import backend


@dataclass(frozen=True, kw_only=True)
class ParamGroup:
    """Training settings of some variables, in addition to the optimizer's settings for all variables."""

    # Suffix of the Keras paths of its variables, such as "norm1/beta"; "" matches every path.
    end: str = ""
    learning_rate: float = 1.0  # multiplies the optimizer's learning rate
    l2: float = 0.0  # l2 times the variable is added to its gradient, before momentum
    epochs: int | None = None  # number of epochs after which the group is frozen; None: never

    def __post_init__(self) -> None:
        for name in ("learning_rate", "l2", "epochs"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"parameter group: {name} {getattr(self, name)} is below 0.")


@dataclass(frozen=True, kw_only=True)
class TriangularSchedule:
    """A learning rate that rises linearly to its peak, then falls linearly.

    Attributes:
      peak: the highest learning rate.
      start, end: learning rate of the first step, and of the step after the last, as fractions of the peak.
      rise: fraction of all steps at which the peak is reached, rounded down, but never less than one step.

    >>> schedule = TriangularSchedule(peak=10.0, start=0.2, rise=0.25, end=0.1)
    >>> [round(schedule.at(step, 8), 2) for step in (0, 1, 2, 5, 8)]
    [2.0, 6.0, 10.0, 5.5, 1.0]
    """

    peak: float
    start: float
    rise: float
    end: float

    def __post_init__(self) -> None:
        if self.peak <= 0 or not (
            0 <= self.start <= 1 and 0 <= self.end <= 1 and 0 < self.rise < 1
        ):
            raise ValueError(
                f"{self} is not a triangle: expected a peak above 0, start and end in the range 0<=x<=1, "
                "and rise in the range 0<x<1."
            )

    def at(self, step: Any, steps: int, minimum: Any = min) -> Any:
        """The learning rate of a step.

        Args:
          step: counted from 0. After `steps` the rate stays at its end value.
          steps: number of steps of the whole training.
          minimum: a function that returns the lesser of two numbers, or of two tensors if `step` is a tensor.
        """
        risen = max(1, int(self.rise * steps))
        step = minimum(step, steps)
        # The rising line is the lower one before the peak, the falling line after it.
        rising = self.start + (1 - self.start) * step / risen
        falling = 1 - (1 - self.end) * (step - risen) / max(1, steps - risen)
        return self.peak * minimum(rising, falling)

    def keras(self, steps: int) -> Any:
        """The schedule as a Keras 3 learning-rate schedule, for a training of `steps` steps."""
        keras: Any = backend.keras()
        at = self.at

        class Triangular(keras.optimizers.schedules.LearningRateSchedule):
            def __call__(self, step: Any) -> Any:
                return at(keras.ops.cast(step, "float32"), steps, keras.ops.minimum)

        return Triangular()


def group_of(path: str, groups: Sequence[ParamGroup]) -> ParamGroup:
    """The group of a variable: the first whose `end` is a suffix of the path; a `ParamGroup()` if there is none.

    Args:
      path: Keras path of the variable, such as "norm1/beta".

    >>> group_of("norm1/beta", [ParamGroup(end="beta", l2=0.5), ParamGroup(l2=1.0)]).l2
    0.5
    """
    return next((group for group in groups if path.endswith(group.end)), ParamGroup())


def sgd(
    learning_rate: Any, momentum: float, groups: Sequence[ParamGroup], steps_per_epoch: int = 1
) -> Any:
    """A Keras 3 optimizer: SGD with Nesterov momentum, L2 and parameter groups, with the same steps as PyTorch's SGD.

    With gradient g of variable w, velocity v (0 at first), momentum m, and L2 c and learning rate r of the group:

      g <- g + c w;  v <- m v + g;  w <- w - learning rate * r * (g + m v)

    Keras's own SGD has the learning rate inside v. Its steps therefore differ while the learning rate changes. Its
    weight decay does not pass through v.

    Args:
      learning_rate: a number or a Keras schedule.
      groups: see `group_of`.
    """
    keras: Any = backend.keras()
    ops = keras.ops

    class GroupedSGD(keras.optimizers.Optimizer):
        def build(self, variables: Any) -> None:
            if not self.built:
                keras.optimizers.Optimizer.build(self, variables)
                self.velocities = self.add_optimizer_variables(variables, "velocity")
                # A list by index, because the variables that update_step gets have no path.
                self.groups = [group_of(variable.path, groups) for variable in variables]

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            index = self._get_variable_index(variable)
            group, velocity = self.groups[index], self.velocities[index]
            gradient = ops.cast(gradient, variable.dtype) + group.l2 * variable
            new_velocity = momentum * velocity + gradient
            rate = ops.cast(learning_rate, variable.dtype) * group.learning_rate
            if group.epochs is not None:
                # `where`, not a factor of zero: the gradient of a frozen variable may not be finite.
                is_trained = self.iterations < group.epochs * steps_per_epoch
                gradient, new_velocity = (
                    ops.where(is_trained, x, 0.0) for x in (gradient, new_velocity)
                )
            self.assign(velocity, new_velocity)
            self.assign_sub(variable, rate * (gradient + momentum * new_velocity))

    return GroupedSGD(learning_rate=learning_rate)
