"""SGD in groups does what its formula says, and the schedule is a triangle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compress import backend
from compress.training.param_groups import ParamGroup, TriangularSchedule, group_of, sgd

SCHEDULE = TriangularSchedule(peak=1.5, start=0.2, rise=0.23, end=0.07)


def variable(value: list[float], name: str) -> Any:
    return backend.keras().Variable(np.float32(value), name=name)


def test_two_steps_equal_those_computed_by_hand() -> None:
    kernel, beta = variable([1.0], "kernel"), variable([1.0], "beta")
    optimizer = sgd(
        0.5, 0.5, [ParamGroup(end="beta", learning_rate=4.0, l2=0.25), ParamGroup(l2=1.0)]
    )
    optimizer.build([kernel, beta])
    optimizer.apply([np.float32([1.0]), np.float32([1.0])])
    # kernel: g = 1 + 1 * 1 = 2, v = 2, step 0.5 * (2 + 0.5 * 2) = 1.5; beta: g = 1.25, v = 1.25, step 2 * 1.875 = 3.75
    assert [float(kernel[0]), float(beta[0])] == [-0.5, -2.75]
    optimizer.apply([np.float32([3.0]), np.float32([0.0])])
    # kernel: g = 3 - 0.5 = 2.5, v = 0.5 * 2 + 2.5 = 3.5, step 0.5 * (2.5 + 1.75) = 2.125
    # beta: g = 0 - 0.6875, v = 0.625 - 0.6875 = -0.0625, step 2 * (-0.6875 - 0.03125) = -1.4375
    assert [float(kernel[0]), float(beta[0])] == [-2.625, -1.3125]


def test_the_velocity_does_not_depend_on_the_learning_rate() -> None:
    weight = variable([0.0], "w")
    optimizer = sgd(1.0, 0.5, [])
    optimizer.build([weight])
    seen = []
    for rate, gradient in [(1.0, 1.0), (0.0, 0.0), (1.0, 0.0)]:
        optimizer.learning_rate = rate
        optimizer.apply([np.float32([gradient])])
        seen.append(float(weight[0]))
    # v is 1, 0.5, 0.25, whatever the rates are.
    assert seen == [-(1 + 0.5 * 1), -1.5, -1.5 - 0.5 * 0.25]


@pytest.mark.parametrize("momentum", [0.0, 0.85])
def test_sgd_without_groups_at_a_constant_rate_equals_the_sgd_of_keras(momentum: float) -> None:
    rng = np.random.default_rng(0)
    mine, theirs = variable([1.0, -2.0], "a"), variable([1.0, -2.0], "b")
    ours = sgd(0.1, momentum, [])
    keras = backend.keras().optimizers.SGD(0.1, momentum, nesterov=momentum > 0)
    ours.build([mine])
    keras.build([theirs])
    for _ in range(5):
        gradient = rng.normal(size=2).astype(np.float32)
        ours.apply([gradient])
        keras.apply([gradient])
    assert np.allclose(mine, theirs, rtol=1e-5)


def test_a_group_is_not_trained_after_its_last_epoch() -> None:
    short, long = variable([1.0], "bias"), variable([1.0], "kernel")
    optimizer = sgd(0.1, 0.9, [ParamGroup(end="bias", epochs=1, l2=0.1)], steps_per_epoch=2)
    optimizer.build([short, long])
    seen = []
    for gradient in (1.0, 1.0, np.nan, 1.0):
        optimizer.apply([np.float32([gradient]), np.float32([1.0])])
        seen.append((float(short[0]), float(long[0])))
    assert seen[0][0] > seen[1][0] == seen[2][0] == seen[3][0]
    assert seen[0][1] > seen[1][1] > seen[2][1] > seen[3][1]


def test_groups_apply_to_the_variables_of_a_model_in_training() -> None:
    keras = backend.keras()
    layers = [keras.layers.Input((3,)), keras.layers.Dense(2, name="first")]
    model = keras.Sequential([*layers, keras.layers.BatchNormalization(name="norm")])
    before = {v.path: np.array(v) for v in model.trainable_variables}
    groups = [ParamGroup(end="beta", learning_rate=0.0), ParamGroup(end="first/bias", epochs=0)]
    model.compile(sgd(SCHEDULE.keras(10), 0.85, groups), "mse", jit_compile=False)
    rng = np.random.default_rng(0)
    model.fit(rng.random((8, 3), np.float32), rng.random((8, 2), np.float32), verbose=0)
    moved = {
        v.path.partition("/")[2]
        for v in model.trainable_variables
        if not np.array_equal(v, before[v.path])
    }
    assert moved == {"first/kernel", "norm/gamma"}
    assert float(model.optimizer.learning_rate) == pytest.approx(SCHEDULE.at(1, 10))


def test_the_first_matching_group_is_used() -> None:
    groups = [ParamGroup(end="whiten/bias", epochs=1), ParamGroup(end="bias", epochs=2)]
    assert group_of("whiten/bias", groups).epochs == 1
    assert group_of("dense/bias", groups).epochs == 2
    assert group_of("dense/kernel", groups) == ParamGroup()


@pytest.mark.parametrize("steps", [2, 3, 100, 977])
def test_the_schedule_is_that_of_airbench_at_every_step(steps: int) -> None:
    risen = max(1, int(steps * 0.23))
    line = np.interp(range(steps + 1), [0, risen, steps], [0.2 * 1.5, 1.5, 0.07 * 1.5])
    assert np.allclose([SCHEDULE.at(step, steps) for step in range(steps + 1)], line)
    assert SCHEDULE.at(steps + 5, steps) == SCHEDULE.at(steps, steps)


def test_a_training_of_one_step_uses_the_start_of_the_schedule() -> None:
    assert SCHEDULE.at(0, 1) == pytest.approx(0.2 * 1.5)


def test_the_keras_schedule_has_the_same_rates() -> None:
    of_keras = SCHEDULE.keras(50)
    for step in (0, 10, 11, 12, 49, 50, 60):
        assert float(of_keras(step)) == pytest.approx(SCHEDULE.at(step, 50), rel=1e-6)


@pytest.mark.parametrize(
    "wrong", [{"peak": 0.0}, {"start": 1.1}, {"end": -0.1}, {"rise": 0.0}, {"rise": 1.0}]
)
def test_a_schedule_that_is_no_triangle_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="is not a triangle: expected a peak above 0"):
        TriangularSchedule(**{"peak": 1.0, "start": 0.2, "rise": 0.5, "end": 0.1, **wrong})


@pytest.mark.parametrize("field", ["learning_rate", "l2", "epochs"])
def test_a_group_with_a_negative_value_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=f"parameter group: {field} -1 is below 0"):
        ParamGroup(**{field: -1})  # type: ignore[arg-type]
