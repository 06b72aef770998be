"""Pruning: exactly the smallest weights, exactly as many as asked, zeros for good, in model and file alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from conftest import Silent
from hypothesis import given
from hypothesis import strategies as st

from compress import backend, tfmot_bridge
from compress.model import KerasModel
from compress.pattern import broken_groups
from compress.stages.prune import Prune, magnitude_mask, ramp_steps
from compress.task import Dataset, Split, Task, TaskView
from compress.tflite_file import matched_kernels
from compress.train import Recipe

IMAGE = (8, 8, 3)
DEPTHWISE = {"depthwise/depthwise_kernel", "separable/depthwise_kernel"}

arrays = hnp.arrays(
    np.float32, hnp.array_shapes(max_dims=4, max_side=5), elements=st.floats(-8, 8, width=16)
)
fractions = st.floats(0, 1)


class Tiny(Task):
    """Sixty-four drawn images, four steps an epoch."""

    name: ClassVar = "tiny"
    input_shape: ClassVar = IMAGE

    def load(self, path: Path | None, note: Any) -> Dataset:
        raise NotImplementedError

    def build(self, *, width: float = 1.0, dropout: float = 1.0) -> Any:
        raise NotImplementedError

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        return {}

    @property
    def finetuning(self) -> Recipe:
        return Recipe(
            summary="", epochs=1, learning_rate=1, batch_size=16, optimizer="sgd",
            schedule="cosine", flip=True,
        )  # fmt: skip


def drawn(seed: int) -> Split:
    rng = np.random.default_rng(seed)
    return Split(rng.integers(0, 256, (64, *IMAGE), dtype=np.uint8), np.arange(64) % 3)


@pytest.fixture
def view(silent: Silent) -> TaskView:
    return TaskView(Tiny(), drawn(0), drawn(1), None, silent, deterministic=True)


def residual() -> KerasModel:
    keras = backend.keras()
    keras.utils.set_random_seed(0)
    k = keras.layers
    image = k.Input(IMAGE, name="image")
    x = k.ReLU()(
        k.BatchNormalization(name="norm")(k.Conv2D(8, 3, padding="same", name="first")(image))
    )
    x = k.Add()([x, k.DepthwiseConv2D(3, padding="same", name="depthwise")(x)])
    x = k.Add()(
        [x, k.SeparableConv2D(8, 3, padding="same", activation="relu", name="separable")(x)]
    )
    x = k.Dropout(0.2)(k.Flatten()(k.MaxPooling2D(4)(x)))
    return KerasModel(keras.Model(image, k.Dense(3, name="scores")(x)))


@pytest.fixture(scope="module")
def incoming() -> KerasModel:
    """What `pruned` was made of."""
    return residual()


@pytest.fixture(scope="module")
def pruned(incoming: KerasModel) -> KerasModel:
    """The residual model after `Prune(epochs=2)`. Tests must not change it."""
    return prune(incoming, epochs=2)


def prune(
    model: KerasModel, folder: Path | None = None, progress: Any = None, **options: Any
) -> KerasModel:
    view = TaskView(Tiny(), drawn(0), drawn(1), folder, progress or Silent(), deterministic=True)
    return Prune(**options).apply(model, view, seed=1)


def with_holes(model: KerasModel, fraction: float, **others: float) -> KerasModel:
    """A copy with that fraction of every kernel at zero, at places drawn without regard to magnitude.

    Args:
      others: kernel name -> its own fraction.
    """
    rng = np.random.default_rng(7)
    copy = model.copy()
    for name, variable in copy.kernel_variables().items():
        order = rng.permutation(int(np.prod(variable.shape))).reshape(variable.shape)
        variable.assign(
            np.where(order < round(others.get(name, fraction) * order.size), 0, variable.numpy())
        )
    return copy


def zeros(w: np.ndarray) -> int:
    return int(np.sum(w == 0))


# The mask


@given(arrays, fractions)
def test_exactly_as_many_are_dropped_as_asked(w: np.ndarray, sparsity: float) -> None:
    assert np.sum(~magnitude_mask(w, sparsity)) == round(sparsity * w.size)


@given(arrays, fractions)
def test_every_kept_weight_is_at_least_every_dropped_one(w: np.ndarray, sparsity: float) -> None:
    mask = magnitude_mask(w, sparsity)
    assert mask.shape == w.shape
    assert min(np.abs(w[mask]), default=np.inf) >= max(np.abs(w[~mask]), default=0)


@given(arrays, fractions, st.sampled_from([2.0**-10, 0.5, 4.0, 1024.0]))
def test_scaling_changes_no_mask(w: np.ndarray, sparsity: float, factor: float) -> None:
    np.testing.assert_array_equal(
        magnitude_mask(w, sparsity), magnitude_mask(w * np.float32(factor), sparsity)
    )


@given(arrays, fractions, fractions)
def test_more_sparsity_keeps_a_subset(w: np.ndarray, one: float, other: float) -> None:
    low, high = sorted([one, other])
    once = np.where(magnitude_mask(w, low), w, 0)
    assert not np.any(magnitude_mask(once, high) & ~magnitude_mask(w, low) & (w != 0))
    assert not np.any(magnitude_mask(w, high) & ~magnitude_mask(w, low))


@given(arrays)
def test_sparsity_zero_keeps_all(w: np.ndarray) -> None:
    assert magnitude_mask(w, 0).all()


def test_of_equal_weights_the_first_are_dropped() -> None:
    mask = magnitude_mask(np.array([[1.0, -1.0], [1.0, 2.0]]), 0.5)
    np.testing.assert_array_equal(mask, [[False, False], [True, True]])


# The ramp


@given(st.floats(0, 0.99), st.floats(0.01, 1), st.integers(1, 5000))
def test_the_ramp_ends_on_an_update_within_the_training(
    begin: float, length: float, total: int
) -> None:
    end = min(1.0, begin + length)
    first, last, frequency = ramp_steps(begin, end, total)
    assert 0 <= first < last <= total
    assert (last - first) % frequency == 0
    assert last >= 1  # tfmot's first step is 1
    if total >= 50 and length >= 0.2:
        assert abs(first - begin * total) <= 1
        assert abs(last - end * total) <= 1 + 0.04 * total


@pytest.mark.parametrize("total", [1, 2, 3, 7, 120])
def test_tfmot_reaches_the_end_of_the_ramp(total: int) -> None:
    begin_step, end_step, frequency = ramp_steps(0.0, 0.4, total)
    schedule = tfmot_bridge.tfmot().sparsity.keras.PolynomialDecay(
        0.0, 0.5, begin_step, end_step, frequency=frequency
    )
    updates = [
        float(sparsity) for update, sparsity in map(schedule, range(1, total + 1)) if bool(update)
    ]
    assert updates[-1] == 0.5
    assert updates == sorted(updates)


# The stage


def test_every_kernel_but_depthwise_ones_is_exactly_as_sparse_as_asked(pruned: KerasModel) -> None:
    for name, w in pruned.kernels().items():
        assert zeros(w) == (0 if name in DEPTHWISE else round(0.5 * w.size)), name


def test_incoming_model_is_unchanged(pruned: KerasModel, incoming: KerasModel) -> None:
    for old, new in zip(residual().keras.get_weights(), incoming.keras.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_weights_that_are_kept_learn_and_only_kernels_get_zeros(
    pruned: KerasModel, incoming: KerasModel
) -> None:
    for name, w in incoming.kernels().items():
        kept = pruned.kernels()[name]
        assert np.mean(kept[kept != 0] == w[kept != 0]) < 0.05, name
    for gamma_or_other in pruned.keras.get_layer("norm").get_weights():
        assert gamma_or_other.all()


def test_the_exported_file_has_the_same_zeros(pruned: KerasModel) -> None:
    stored = matched_kernels(pruned.to_tflite().content, pruned.kernels())
    for name, w in pruned.kernels().items():
        np.testing.assert_array_equal(stored[name] == 0, w == 0, err_msg=name)
    assert Prune(epochs=2).broken_promises(stored) == []
    assert len(Prune(epochs=2, sparsity=0.6).broken_promises(stored)) == 3


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path, pruned: KerasModel) -> None:
    class Killed(Silent):
        def epoch(self, row: dict[str, float]) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune(residual(), tmp_path, Killed(), epochs=2)
    goes_on = Silent()
    resumed = prune(residual(), tmp_path, goes_on, epochs=2)
    assert goes_on.done == 1
    assert len(goes_on.rows) == 1
    # What training last validated is what comes out: tfmot had reached the sparsity, not the cut after it.
    images, labels = drawn(1).images * np.float32(1 / 255), drawn(1).labels
    logits = resumed.keras(images, training=False).numpy().astype(np.float64)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(64), labels]
    np.testing.assert_allclose(
        goes_on.rows[0]["validation_cross_entropy"], losses.mean(), rtol=1e-4
    )
    for whole, broken in zip(pruned.keras.get_weights(), resumed.keras.get_weights(), strict=True):
        np.testing.assert_array_equal(whole, broken)


@pytest.mark.parametrize("epochs", [0, 1])
def test_zeros_that_come_in_go_out(epochs: int) -> None:
    holed = with_holes(residual(), 0.3, first=0.7)  # more, and in `separable` and `scores` less
    after = prune(holed, epochs=epochs, skip=("scores",)).kernels()
    for name, w in holed.kernels().items():
        asked = round(0.5 * w.size) if name in ("first", "separable/pointwise_kernel") else 0
        assert not after[name][w == 0].any(), name
        assert zeros(after[name]) == max(asked, zeros(w)), name
        assert epochs == 0 or np.any(after[name][w != 0] != w[w != 0]), name


def test_pattern_holds_in_groups_and_other_layers_stay_dense() -> None:
    model = residual()
    stage = Prune(pattern="2:4", epochs=1)
    assert stage.sparsity == 0.5
    after = prune(model, pattern="2:4", epochs=1).kernels()
    for name in ("separable/pointwise_kernel", "scores"):
        assert broken_groups(after[name], "2:4")[0] == 0
        assert zeros(after[name]) == after[name].size // 2
        assert np.any((after[name] != 0) & (after[name] != model.kernels()[name]))
    assert zeros(after["first"]) == 0
    assert stage.check(model) == [
        "prune: first left dense: its 3 input channels do not form groups of 4.",
        "prune: depthwise left dense: depthwise kernels, a few weights for each channel, are not pruned.",
        "prune: separable left dense: depthwise kernels, a few weights for each channel, are not pruned.",
    ]
    assert stage.broken_promises(after) == []
    after["scores"][:4] = 1
    assert stage.broken_promises(after) == [
        f"scores breaks pattern 2:4 in 3 of {after['scores'].size // 4} groups"
    ]


def test_pattern_keeps_zeros_that_come_in() -> None:
    holed = with_holes(residual(), 0.6)
    after = prune(holed, pattern="1:4", epochs=0).kernels()
    for name, w in holed.kernels().items():
        assert not after[name][w == 0].any(), name


def test_one_shot_keeps_the_largest_weights_as_they_were_and_needs_no_training() -> None:
    model, untouched = residual(), Silent()
    after = prune(model, progress=untouched, epochs=0, sparsity=0.8).kernels()
    assert untouched.rows == []
    for name, w in model.kernels().items():
        keep = np.ones(w.shape, bool) if name in DEPTHWISE else magnitude_mask(w, 0.8)
        np.testing.assert_array_equal(after[name], np.where(keep, w, 0))


def test_pruning_further_keeps_a_subset() -> None:
    half = prune(residual(), epochs=0, sparsity=0.5)
    more = prune(half, epochs=0, sparsity=0.8)
    for name, w in half.kernels().items():
        assert not np.any((more.kernels()[name] != 0) & (w == 0)), name


def test_ties_and_a_single_step_still_give_exactly_the_sparsity_asked(view: TaskView) -> None:
    keras = backend.keras()
    image = keras.layers.Input(IMAGE)
    x = keras.layers.Flatten()(image)
    model = KerasModel(keras.Model(image, keras.layers.Dense(3, name="scores")(x)))
    model.kernel_variables()["scores"].assign(np.ones((192, 3), np.float32))
    few = Split(view.train.images[:3], view.train.labels[:3])
    stage = Prune(epochs=1, sparsity=0.75, learning_rate=1e-12)
    after = stage.apply(model, replace(view, train=few), seed=0)
    assert zeros(after.kernels()["scores"]) == 432


# Words


def test_promise_is_read_off_the_file_with_numbers() -> None:
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
        ({"begin": 0.8}, "prune: option 'end': 0.4 is not after 'begin', 0.8"),
        ({"pattern": "4:2"}, "prune: option 'pattern': 4:2 is not a pattern m:n with 0 < m < n"),
        (
            {"pattern": "1:4", "sparsity": 0.75},
            "prune: option 'sparsity': 0.75 does not go with pattern 1:4, which sets it to 0.25; leave",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Prune(**options)


@pytest.mark.parametrize("stage", [Prune(pattern="1:4"), Prune(pattern="3:8", skip=("a", "b"))])
def test_a_pattern_survives_its_spellings(stage: Prune) -> None:
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
        ({"pattern": "1:128"}, "skip fewer layers, or choose another pattern."),
    ],
)
def test_what_cannot_be_pruned_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Prune(**options).check(residual())


def test_a_model_that_cannot_be_trained_is_refused_but_pruned_at_once(view: TaskView) -> None:
    keras = backend.keras()
    image = keras.layers.Input(IMAGE)
    x = keras.layers.RandomFlip(name="flip")(image)
    model = KerasModel(keras.Model(image, keras.layers.Conv2D(2, 3, name="conv")(x)))
    with pytest.raises(ValueError, match=r"layer 'flip' \(RandomFlip\)"):
        Prune().check(model)
    after = Prune(epochs=0).apply(model, view, seed=0)
    assert zeros(after.kernels()["conv"]) == 27
