"""prune sets exactly as many weights to zero as asked; they stay zero in the model and in the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compress import backend
from compress.data.dataset import Split
from compress.keras_models.model import KerasModel
from compress.pruning import magnitude
from compress.pruning.magnitude import magnitude_mask
from compress.pruning.nm_pattern import broken_groups
from compress.stages.prune import Prune
from compress.tasks.view import TaskView
from compress.tflite.contents import matched_kernels
from conftest import Silent
from support.tiny_task import IMAGE, Tiny, drawn, prune, residual, with_holes, zeros

DEPTHWISE = {"depthwise/depthwise_kernel", "separable/depthwise_kernel"}

# These tests check which weights are pruned, not whether training helped.
pytestmark = pytest.mark.usefixtures("whatever_training_does")


@pytest.fixture
def view(silent: Silent) -> TaskView:
    return TaskView(Tiny(), drawn(0), drawn(1), None, silent, deterministic=True)


@pytest.fixture(scope="module")
def incoming() -> KerasModel:
    """The model that `pruned` was made from."""
    return residual()


@pytest.fixture(scope="module")
def pruned(incoming: KerasModel) -> KerasModel:
    """The residual model after `Prune(epochs=2)`. Tests must not change it."""
    return prune(incoming, epochs=2, learning_rate=0.02)


def test_every_kernel_except_depthwise_has_exactly_the_asked_sparsity(pruned: KerasModel) -> None:
    for name, w in pruned.kernels().items():
        assert zeros(w) == (0 if name in DEPTHWISE else round(0.5 * w.size)), name


def test_incoming_model_is_unchanged(pruned: KerasModel, incoming: KerasModel) -> None:
    for old, new in zip(residual().keras.get_weights(), incoming.keras.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_kept_weights_are_trained_and_only_kernels_get_zeros(
    pruned: KerasModel, incoming: KerasModel
) -> None:
    for name, w in incoming.kernels().items():
        kept = pruned.kernels()[name]
        assert np.mean(kept[kept != 0] == w[kept != 0]) < 0.05, name
    for gamma_or_other in pruned.keras.get_layer("norm").get_weights():
        assert gamma_or_other.all()


def test_the_exported_file_has_the_same_zeros(pruned: KerasModel) -> None:
    stored = matched_kernels(pruned.to_tflite().graph, pruned.kernels())
    for name, w in pruned.kernels().items():
        np.testing.assert_array_equal(stored[name] == 0, w == 0, err_msg=name)
    assert Prune(epochs=2).broken_promises(stored) == []
    assert len(Prune(epochs=2, sparsity=0.6).broken_promises(stored)) == 3


def test_a_killed_run_resumes_to_the_same_weights(tmp_path: Path, pruned: KerasModel) -> None:
    class Killed(Silent):
        def epoch(self, row: dict[str, float]) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune(residual(), tmp_path, Killed(), epochs=2, learning_rate=0.02)
    goes_on = Silent()
    resumed = prune(residual(), tmp_path, goes_on, epochs=2, learning_rate=0.02)
    assert goes_on.done == 1
    assert len(goes_on.rows) == 1
    # The last validated model is the result: tfmot reached the sparsity itself, without a cut after training.
    images, labels = drawn(1).images * np.float32(1 / 255), drawn(1).labels
    logits = resumed.keras(images, training=False).numpy().astype(np.float64)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(64), labels]
    np.testing.assert_allclose(
        goes_on.rows[0]["validation_cross_entropy"], losses.mean(), rtol=1e-4
    )
    for whole, broken in zip(pruned.keras.get_weights(), resumed.keras.get_weights(), strict=True):
        np.testing.assert_array_equal(whole, broken)


@pytest.mark.parametrize("epochs", [0, 1])
def test_zeros_of_the_incoming_model_are_kept(epochs: int) -> None:
    holed = with_holes(residual(), 0.3, first=0.7)  # only `first` has more zeros than asked
    after = prune(holed, epochs=epochs, learning_rate=0.02, skip=("scores",)).kernels()
    for name, w in holed.kernels().items():
        asked = round(0.5 * w.size) if name in ("first", "separable/pointwise_kernel") else 0
        assert not after[name][w == 0].any(), name
        assert zeros(after[name]) == max(asked, zeros(w)), name
        assert epochs == 0 or np.any(after[name][w != 0] != w[w != 0]), name


def test_pattern_holds_in_groups_and_other_layers_stay_dense() -> None:
    model = residual()
    stage = Prune(pattern="2:4", epochs=1)
    assert stage.sparsity == 0.5
    after = prune(model, pattern="2:4", epochs=1, learning_rate=0.02).kernels()
    for name in ("separable/pointwise_kernel", "scores"):
        assert broken_groups(after[name], "2:4")[0] == 0
        assert zeros(after[name]) == after[name].size // 2
        assert np.any((after[name] != 0) & (after[name] != model.kernels()[name]))
    assert zeros(after["first"]) == 0
    depthwise = "depthwise kernels, a few weights for each channel, are not pruned."
    findings = stage.check(model)
    assert [f.layers for f in findings] == [("first",), ("depthwise",), ("separable",)]
    assert [f.sentence("prune") for f in findings] == [
        "prune: first left dense: its 3 input channels do not form groups of 4.",
        f"prune: depthwise/depthwise_kernel left dense: {depthwise}",
        f"prune: separable/depthwise_kernel left dense: {depthwise}",
    ]
    assert stage.broken_promises(after) == []
    after["scores"][:4] = 1
    assert stage.broken_promises(after) == [
        f"scores breaks pattern 2:4 in 3 of {after['scores'].size // 4} groups"
    ]


def test_a_pattern_keeps_zeros_of_the_incoming_model() -> None:
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


def test_random_pruning_drops_as_many_weights_as_magnitude_chosen_by_the_seed(
    view: TaskView,
) -> None:
    model = residual()
    kernels = [
        Prune(criterion="random", epochs=epochs, learning_rate=0.02)
        .apply(model, view, seed=seed)
        .kernels()
        for epochs, seed in ((0, 1), (0, 1), (0, 2), (1, 1))
    ]
    smallest = Prune(epochs=0).apply(model, view, seed=1).kernels()
    zeros = [{name: w == 0 for name, w in each.items()} for each in (*kernels, smallest)]
    first, same, other, trained, by_magnitude = zeros
    for name, holes in first.items():
        assert np.array_equal(holes, same[name])
        assert np.array_equal(holes, trained[name])
        assert holes.sum() == by_magnitude[name].sum()
    assert any(not np.array_equal(holes, other[name]) for name, holes in first.items())
    assert any(not np.array_equal(holes, by_magnitude[name]) for name, holes in first.items())


def test_random_pruning_refuses_a_pattern_and_the_global_scope() -> None:
    for options in ({"pattern": "2:4"}, {"scope": "global"}):
        with pytest.raises(ValueError, match="random goes with neither 'pattern' nor scope global"):
            Prune(criterion="random", **options)


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


def test_alpha_one_ignores_the_labels() -> None:
    model = residual()
    right, swapped = drawn(0), Split(drawn(0).images, (drawn(0).labels + 1) % 3)

    def kernel(labelled: Split, alpha: float) -> np.ndarray:
        view = TaskView(Tiny(), labelled, drawn(1), None, Silent(), deterministic=True)
        stage = Prune(epochs=1, alpha=alpha, learning_rate=0.01)
        return stage.apply(model, view, seed=1).kernels()["first"]

    np.testing.assert_array_equal(kernel(right, 1.0), kernel(swapped, 1.0))
    assert not np.array_equal(kernel(right, 0.5), kernel(swapped, 0.5))
    assert not np.array_equal(kernel(right, 1.0), kernel(right, 0.5))


def test_the_sparsity_ramp_counts_the_steps_of_the_whole_training(
    view: TaskView, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def ramp_steps(begin: float, end: float, total: int) -> tuple[int, int, int]:
        asked.append(total)
        return magnitude.ramp_steps(begin, end, total)

    monkeypatch.setattr("compress.stages.prune.ramp_steps", ramp_steps)
    model, final = residual(), replace(view, train_on="train+validation")
    for batch, shown in (("16", view), ("8", view), ("16", final)):
        stage = Prune(sparsity=0.5, epochs=2, learning_rate=0.01, set=(f"batch_size={batch}",))
        stage.apply(model, shown, 0)
    some, every = len(view.train), len(view.train) + len(view.validation)
    assert asked == [2 * (some // 16), 2 * (some // 8), 2 * (every // 16)]
