"""What prune promises, refuses and notes, in words."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from compress import backend
from compress.keras_models.model import KerasModel
from compress.stages.prune import Prune
from compress.tasks.view import TaskView
from conftest import Silent
from support.tiny_task import IMAGE, Tiny, drawn, residual, zeros


@pytest.fixture
def view(silent: Silent) -> TaskView:
    return TaskView(Tiny(), drawn(0), drawn(1), None, silent, deterministic=True)


def test_a_broken_promise_gives_the_zeros_found_and_expected() -> None:
    kernels = {
        "conv": np.array([[0.0, 1.0], [2.0, 3.0]]),
        "other/depthwise_kernel": np.ones((3, 3, 2, 1)),
    }
    assert Prune().broken_promises(kernels) == ["conv has 1 zeros in 4 weights, expected 2"]
    assert Prune(skip=("conv",)).broken_promises(kernels) == []
    assert Prune(sparsity=0.25).broken_promises(kernels) == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"begin": 0.5, "end": 0.5}, "prune: option 'end': 0.5 is not after 'begin', 0.5; give"),
        ({"begin": 0.8}, "prune: option 'end': 0.3 is not after 'begin', 0.8"),
        ({"pattern": "4:2"}, "prune: option 'pattern': 4:2 is not a pattern m:n with 0 < m < n"),
        (
            {"pattern": "1:4", "sparsity": 0.75},
            "prune: option 'sparsity': 0.75 does not go with pattern 1:4, which sets it to 0.25; leave",
        ),
        (
            {"pattern": "2:4", "scope": "global"},
            "prune: option 'scope': global does not go with pattern 2:4, which sets the zeros",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Prune(**options)


@pytest.mark.parametrize("stage", [Prune(pattern="1:4"), Prune(pattern="3:8", skip=("a", "b"))])
def test_a_pattern_is_kept_in_spec_and_argv(stage: Prune) -> None:
    spec = stage.spec()
    del spec["stage"]
    assert Prune(**spec) == stage
    assert stage.argv()[1:5] == ["--sparsity", str(stage.sparsity), "--pattern", stage.pattern]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"skip": ("frist",)},
            "prune: no layer 'frist' with a kernel to skip; did you mean 'first'?",
        ),
        (
            {"skip": ("norm",)},
            "prune: no layer 'norm' with a kernel to skip; choose of ['depthwise',",
        ),
        ({"skip": ("first", "separable", "scores")}, "prune: none of the model's 5 kernels can be"),
        (
            {"pattern": "1:128"},
            "(first: its 3 input channels do not form groups of 128; depthwise/depthwise_kernel: depthwise kernels,",
        ),
        ({"pattern": "1:128"}, "; ...): skip fewer layers, or choose another pattern."),
    ],
)
def test_what_cannot_be_pruned_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Prune(**options).check(residual())


def test_an_untrainable_model_is_refused_unless_epochs_is_zero(view: TaskView) -> None:
    keras = backend.keras()
    image = keras.layers.Input(IMAGE)
    x = keras.layers.RandomFlip(name="flip")(image)
    model = KerasModel(keras.Model(image, keras.layers.Conv2D(2, 3, name="conv")(x)))
    with pytest.raises(ValueError, match=r"layer 'flip' \(RandomFlip\)"):
        Prune().check(model)
    after = Prune(epochs=0).apply(model, view, seed=0)
    assert zeros(after.kernels()["conv"]) == 27


def test_a_broken_global_promise_gives_the_zeros_found_and_expected() -> None:
    kernels = {
        "conv": np.array([[0.0, 0.0], [0.0, 3.0]]),
        "other": np.ones((3, 2)),
        "third/depthwise_kernel": np.zeros((3, 3, 2, 1)),
    }
    assert Prune(scope="global", sparsity=0.3).broken_promises(kernels) == []
    assert Prune(scope="global").broken_promises(kernels) == [
        "all of conv, other has 3 zeros in 10 weights, expected 5"
    ]
    assert Prune(scope="global", skip=("other",)).broken_promises(kernels) == []


def test_a_sparsity_that_would_empty_a_kernel_is_refused_before_any_work() -> None:
    Prune(scope="global", sparsity=0.99).check(residual())
    with pytest.raises(
        ValueError, match=re.escape("prune: option 'sparsity': a sparsity of 0.999")
    ):
        Prune(scope="global", sparsity=0.999).check(residual())


def test_renew_statistics_without_batchnorm_is_refused() -> None:
    keras = backend.keras()
    model = KerasModel(keras.Sequential([keras.Input(IMAGE), keras.layers.Conv2D(4, 3)]))
    with pytest.raises(ValueError, match="'renew_statistics': the model has no BatchNorm"):
        Prune(renew_statistics=True).check(model)
    Prune().check(model)


def test_keep_best_is_refused_before_any_work_where_zeros_come_step_by_step(view: TaskView) -> None:
    best = ("keep=best",)
    sentence = "^prune: option 'set': keep = 'best' may keep an epoch in which zeros"
    with pytest.raises(ValueError, match=sentence):
        Prune(set=best).outline(residual(), view)
    for stage in (
        Prune(set=best, pattern="2:4"),
        Prune(set=best, epochs=0),
        Prune(set=best, criterion="random"),
    ):
        stage.outline(residual(), view)
