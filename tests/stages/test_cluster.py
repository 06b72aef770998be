"""Clustering gives each kernel few values, in the model and in the file, and later stages keep them few."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress import backend
from compress.clustering.kmeans import INITIALIZATIONS
from compress.keras_models.model import KerasModel
from compress.stages.cluster import Cluster
from compress.stages.finetune import Finetune
from compress.tasks.view import TaskView
from compress.tflite.contents import matched_kernels
from compress.tfmot import bridge
from compress.tfmot import clustering as tfmot_clustering
from compress.weight_sharing import distinct, distinct_per_channel, is_clustered
from conftest import Silent
from support.tiny_task import IMAGE, Tiny, drawn, prune, residual, with_holes, zeros

DEPTHWISE = {"depthwise/depthwise_kernel", "separable/depthwise_kernel"}

# These tests check which values the weights share, not whether training helped.
pytestmark = pytest.mark.usefixtures("whatever_training_does")


def view(folder: Path | None = None, progress: Any = None) -> TaskView:
    return TaskView(Tiny(), drawn(0), drawn(1), folder, progress or Silent(), deterministic=True)


def cluster(
    model: KerasModel, folder: Path | None = None, progress: Any = None, **options: Any
) -> KerasModel:
    options = {"learning_rate": 0.02} | options
    return Cluster(clusters=8, **options).apply(model, view(folder, progress), seed=1)


def last_validated(progress: Silent) -> float:
    return progress.rows[-1]["validation_cross_entropy"]


def cross_entropy(model: KerasModel) -> float:
    """The mean on the validation images: that of the last epoch, if nothing changed the weights after it."""
    images, labels = drawn(1).images * np.float32(1 / 255), drawn(1).labels
    logits = model.keras(images, training=False).numpy().astype(np.float64)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(64), labels]
    return float(losses.mean())


@pytest.fixture(scope="module")
def incoming() -> KerasModel:
    """The model that `clustered` was made from: a third of each kernel is zero, but `scores` has no zeros."""
    return with_holes(residual(), 1 / 3, scores=0)


@pytest.fixture(scope="module")
def clustered(incoming: KerasModel) -> KerasModel:
    """The residual model after two epochs. Tests must not change it."""
    return cluster(incoming, epochs=2)


def test_every_kernel_except_depthwise_shares_at_most_the_asked_number_of_values(
    clustered: KerasModel,
) -> None:
    for name, w in clustered.kernels().items():
        assert (name in DEPTHWISE) or 4 < distinct(w) <= 8, name
        assert is_clustered(w) == (name not in DEPTHWISE), name


def test_zeros_are_kept_and_all_other_weights_are_trained(
    clustered: KerasModel, incoming: KerasModel
) -> None:
    for name, w in incoming.kernels().items():
        after = clustered.kernels()[name]
        assert not after[w == 0].any(), name
        assert np.mean(after[w != 0] == w[w != 0]) < 0.05, name
    assert zeros(clustered.kernels()["scores"]) == 0


def test_training_changes_the_shared_values_and_the_assignment_of_weights(
    clustered: KerasModel, incoming: KerasModel
) -> None:
    begun, moved = cluster(incoming, epochs=0).kernels(), 0
    for name in set(begun) - DEPTHWISE:
        after = clustered.kernels()[name]
        assert not np.isin(after[after != 0], begun[name]).any(), name
        pairs = {(a, b) for a, b in zip(begun[name].flat, after.flat, strict=True) if a and b}
        moved += len(pairs) > distinct(after)
    assert moved > 0


def test_incoming_model_is_unchanged(clustered: KerasModel, incoming: KerasModel) -> None:
    assert incoming.digest == with_holes(residual(), 1 / 3, scores=0).digest


def test_the_exported_file_keeps_the_promise_and_is_checked_for_it(clustered: KerasModel) -> None:
    stored = matched_kernels(clustered.to_tflite().graph, clustered.kernels())
    # A normalization has been folded into `first`: its values are shared per channel only.
    assert distinct(stored["first"]) > 8 >= distinct_per_channel(stored["first"]).max()
    assert Cluster(clusters=8).broken_promises(stored) == []
    assert Cluster(clusters=3, skip=("separable",)).broken_promises(stored) == [
        f"{name} has {distinct_per_channel(stored[name]).max()} distinct non-zero values in an output channel, "
        "expected at most 3"
        for name in ("first", "scores")
    ]


def test_the_promise_is_kept_in_int8(clustered: KerasModel) -> None:
    images = drawn(0).images * np.float32(1 / 255)
    stored = matched_kernels(clustered.to_tflite("int8", images).graph, clustered.kernels())
    assert all(w.dtype.kind == "i" for w in stored.values())
    assert Cluster(clusters=8).broken_promises(stored) == []
    assert zeros(stored["first"]) >= zeros(clustered.kernels()["first"])


def test_the_promise_is_checked_per_output_channel_on_any_axis() -> None:
    drawn_weights = np.random.default_rng(0).normal(size=(1, 1, 40, 8)).round(1)
    scales = np.exp(np.arange(8))
    convolution = {"conv": drawn_weights * 0 + scales}
    transposed = {"conv": np.moveaxis(convolution["conv"], -1, -2)}
    pointwise = {"conv": np.arange(1, 321).reshape(1, 1, 40, 8)}  # few values in a slice of axis -2
    stage = Cluster(clusters=8)
    assert stage.broken_promises(convolution) == stage.broken_promises(transposed) == []
    assert stage.broken_promises(pointwise) == [
        "conv has 40 distinct non-zero values in an output channel, expected at most 8"
    ]


def test_a_killed_run_resumes_to_the_same_weights(
    tmp_path: Path, clustered: KerasModel, incoming: KerasModel
) -> None:
    class Killed(Silent):
        def epoch(self, row: dict[str, float]) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cluster(incoming, tmp_path, Killed(), epochs=2)
    goes_on = Silent()
    resumed = cluster(incoming, tmp_path, goes_on, epochs=2)
    assert (goes_on.done, len(goes_on.rows)) == (1, 1)
    for whole, broken in zip(
        clustered.keras.get_weights(), resumed.keras.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(whole, broken)
    assert last_validated(goes_on) == pytest.approx(cross_entropy(resumed), rel=1e-4)


@pytest.mark.parametrize("epochs", [0, 1])
def test_per_channel_clustering_works_with_and_without_bias(epochs: int) -> None:
    keras = backend.keras()
    image = keras.layers.Input(IMAGE)
    x = keras.layers.Conv2D(4, 3, name="with")(image)
    x = keras.layers.Conv2D(4, 3, name="without", use_bias=False)(x)
    x = keras.layers.Dense(3, name="scores")(keras.layers.Flatten()(x))
    model = with_holes(KerasModel(keras.Model(image, x)), 0.2)
    model.kernel_variables()["with"].assign(
        model.kernels()["with"] * [1, 1, 1, 0]  # tfmot cannot start in a channel of zeros
    )
    stage = Cluster(clusters=4, per_channel=True, epochs=epochs, learning_rate=0.02)
    after = stage.apply(model, view(), seed=1).kernels()
    for name in ("with", "without"):
        alive = distinct_per_channel(model.kernels()[name]) > 0
        assert np.all(distinct_per_channel(after[name])[alive] > 1), name
        assert distinct_per_channel(after[name]).max() <= 4 < 7 < distinct(after[name]), name
        assert not after[name][model.kernels()[name] == 0].any(), name
    assert distinct(after["scores"]) <= 4
    assert [f.sentence("cluster") for f in stage.check(model)] == [
        "cluster: the channels of scores share their values: only a Conv2D whose channels have at least 8 weights "
        "each can have 4 values per channel."
    ]


@pytest.mark.parametrize("initialization", INITIALIZATIONS)
def test_every_initialization_clusters_the_layers_that_are_not_skipped(initialization: str) -> None:
    stage: dict[str, Any] = {"initialization": initialization, "skip": ("separable",)}
    after = cluster(residual(), epochs=0, **stage).kernels()
    assert 2 < distinct(after["first"]) <= 8
    assert 2 < distinct(after["scores"]) <= 8
    assert not is_clustered(after["separable/pointwise_kernel"])


def test_clustering_without_epochs_trains_nothing_and_is_idempotent() -> None:
    untouched = Silent()
    once = cluster(residual(), progress=untouched, epochs=0)
    assert untouched.rows == []
    again = cluster(once, epochs=0)
    assert once.digest == again.digest


def test_an_already_clustered_kernel_keeps_its_clusters_in_training() -> None:
    once = cluster(residual(), epochs=0)
    more = cluster(once, epochs=1).kernels()
    for name, w in once.kernels().items():
        pairs = {(a, b) for a, b in zip(w.flat, more[name].flat, strict=True)}
        assert distinct(more[name]) == distinct(w) == len(pairs), name
        assert not np.isin(more[name], w).any(), name


@pytest.mark.parametrize("per_channel", [False, True])
def test_finetuning_changes_the_values_and_splits_no_cluster(per_channel: bool) -> None:
    before = cluster(with_holes(residual(), 1 / 3), epochs=0, per_channel=per_channel)
    after = Finetune(epochs=2, learning_rate=0.1).apply(before, view(), seed=0).kernels()
    for name, w in before.kernels().items():
        np.testing.assert_array_equal(after[name] == 0, w == 0, err_msg=name)
        assert np.mean(after[name][w != 0] == w[w != 0]) < 0.05, name
        np.testing.assert_array_equal(distinct_per_channel(after[name]), distinct_per_channel(w))
        assert name in DEPTHWISE or per_channel or distinct(after[name]) == distinct(w), name


@pytest.mark.parametrize("epochs", [0, 1])
def test_pruning_a_clustered_model_adds_zeros_and_no_new_values(
    clustered: KerasModel, epochs: int
) -> None:
    seen = Silent()
    sparse = prune(clustered, progress=seen, epochs=epochs, sparsity=0.6, learning_rate=0.02)
    for name, w in clustered.kernels().items():
        after = sparse.kernels()[name]
        assert not after[w == 0].any(), name
        if name not in DEPTHWISE:
            assert zeros(after) == round(0.6 * w.size), name
            assert distinct(after) <= distinct(w), name
            assert not epochs or not np.isin(after[after != 0], w).any(), name
    # All zeros are set during training: no weight is set to zero after it.
    assert not epochs or last_validated(seen) == pytest.approx(cross_entropy(sparse), rel=1e-4)
    stored = matched_kernels(sparse.to_tflite().graph, sparse.kernels())
    assert Cluster(clusters=8).broken_promises(stored) == []


def test_a_frozen_kernel_is_clustered_without_training() -> None:
    model = residual()
    model.keras.get_layer("first").trainable = False
    after = cluster(model, epochs=1)
    at_once = cluster(model, epochs=0)
    np.testing.assert_array_equal(after.kernels()["first"], at_once.kernels()["first"])
    assert np.any(after.kernels()["scores"] != at_once.kernels()["scores"])


def test_the_clustering_wrapper_keeps_the_softmax_output() -> None:
    from compress.keras_models.layers import gives_probabilities

    keras = backend.keras()
    image = keras.layers.Input(IMAGE)
    x = keras.layers.Dense(3, "softmax", name="scores")(keras.layers.Flatten()(image))
    twin = bridge.twin(keras.Model(image, x))
    values = {"scores": np.linspace(-1, 1, 4, dtype=np.float32)}
    assert gives_probabilities(tfmot_clustering.with_clustering(twin, values))


@pytest.mark.parametrize("values", [np.array([-0.3, 0.1, 0.4]), np.array([[-0.3, 0.4], [0, 0.1]])])
def test_a_shared_value_moves_by_the_mean_step_of_its_weights(values: np.ndarray) -> None:
    keras, rng = backend.keras(), np.random.default_rng(0)
    image = keras.layers.Input(IMAGE)
    twin = bridge.twin(keras.Model(image, keras.layers.Conv2D(2, 3, name="conv")(image)))
    clustering = tfmot_clustering.with_clustering(twin, {"conv": values.astype(np.float32)})
    wrapper = clustering.layers[-1]
    weights, table = (
        wrapper.original_clusterable_weights["kernel"],
        wrapper.cluster_centroids["kernel"],
    )
    before = weights.numpy()
    clustering.compile(bridge.tf_keras().optimizers.SGD(0.1), loss="mse")
    clustering.train_on_batch(rng.normal(size=(4, *IMAGE)), rng.normal(size=(4, 6, 6, 2)))
    moved = np.atleast_2d(table.numpy() - values)
    for (channel, value), step in np.ndenumerate(moved):
        of_value = wrapper.pulling_indices["kernel"].numpy() == value
        if values.ndim == 2:
            of_value &= np.arange(2) == channel
        own = (weights.numpy() - before)[of_value]
        assert len(own) > 1
        np.testing.assert_allclose(step, own.mean(), rtol=1e-4)


def test_kernels_that_are_not_clustered_are_reported() -> None:
    depthwise = (
        "left as it is: depthwise kernels, a few weights for each channel, are not clustered."
    )
    few = "left as it is: its 64 weights are too few to share 40 values."
    findings = Cluster(clusters=40, skip=("depthwise",)).check(residual())
    assert [f.sentence("cluster") for f in findings] == [
        f"cluster: separable/depthwise_kernel {depthwise}",
        f"cluster: separable/pointwise_kernel {few}",
    ]
    assert [f.layers for f in findings] == [("separable",), ("separable",)]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"skip": ("frist",)},
            "cluster: no layer 'frist' with a kernel to skip; did you mean 'first'?",
        ),
        ({"clusters": 200}, "cluster: none of the model's 5 kernels can be clustered with these"),
        ({"skip": ("first", "separable", "scores")}, "skip fewer layers, or give fewer clusters."),
    ],
)
def test_what_cannot_be_clustered_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Cluster(**options).check(residual())


def test_an_untrainable_model_is_refused_unless_epochs_is_zero() -> None:
    keras = backend.keras()
    image = keras.layers.Input(IMAGE)
    x = keras.layers.RandomFlip(name="flip")(image)
    model = KerasModel(keras.Model(image, keras.layers.Conv2D(2, 3, name="conv")(x)))
    with pytest.raises(ValueError, match=r"layer 'flip' \(RandomFlip\)"):
        Cluster().check(model)
    assert distinct(cluster(model, epochs=0).kernels()["conv"]) == 8
