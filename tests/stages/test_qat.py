"""qat trains with int8 arithmetic, can be resumed, and stores int8 weights with the incoming zeros and clusters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.data.dataset import Split
from compress.keras_models.model import KerasModel
from compress.measurement.measure import predict
from compress.pipelines.pipeline import Pipeline
from compress.pruning.nm_pattern import broken_groups
from compress.rows.jsonl import read_from
from compress.runs.context import RunContext
from compress.stages.prune import Prune
from compress.stages.qat import Qat, lost_clusters
from compress.tasks.view import TaskView
from compress.tflite import contents
from compress.tflite.model import TFLiteModel
from compress.weight_sharing import distinct_per_channel, nearest
from conftest import Silent
from support.tiny_task import Tiny, drawn, residual, with_holes
from support.twins import keras

VALUES = np.array([-0.25, -0.1, -0.03, 0.03, 0.1, 0.25])


def qat(
    model: KerasModel, folder: Path | None = None, progress: Any = None, **options: Any
) -> TFLiteModel:
    view = TaskView(Tiny(), drawn(0), drawn(1), folder, progress or Silent(), deterministic=True)
    return Qat(**({"learning_rate": 0.02} | options)).apply(model, view, seed=1)


def stored(file: TFLiteModel, model: KerasModel) -> dict[str, np.ndarray]:
    return contents.matched_kernels(file.graph, model.kernels())


@pytest.fixture(scope="module")
def progress() -> Silent:
    return Silent()


@pytest.fixture(scope="module")
def holed() -> KerasModel:
    """The model that `trained` was made from: zeros in every kernel, and few shared values in `scores`."""
    model = with_holes(residual(), 0.4)
    variable = model.kernel_variables()["scores"]
    variable.assign(nearest(variable.numpy(), VALUES))
    return model


@pytest.fixture(scope="module")
def trained(holed: KerasModel, progress: Silent) -> TFLiteModel:
    """That model after `Qat(epochs=2)`."""
    return qat(holed, progress=progress, epochs=2)


def test_the_file_has_only_integer_tensors(trained: TFLiteModel, holed: KerasModel) -> None:
    operators = contents.operators(trained.content)
    kinds = {t.dtype for o in operators for t in (*o.inputs, *o.outputs) if t is not None}
    assert kinds == {"int8", "int32"}
    assert [o.name for o in operators] == [
        "CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "DEPTHWISE_CONV_2D", "CONV_2D", "ADD", "MAX_POOL_2D",
        "RESHAPE", "FULLY_CONNECTED",
    ]  # fmt: skip
    assert Qat().broken_promises(stored(trained, holed)) == []
    float_file = stored(holed.to_tflite(), holed)
    assert "first is not stored in int8" in Qat().broken_promises(float_file)


def test_zeros_of_the_incoming_model_are_zeros_in_the_file(
    trained: TFLiteModel, holed: KerasModel
) -> None:
    for name, w in stored(trained, holed).items():
        assert not w[holed.kernels()[name] == 0].any(), name
        # Few others are so small that they round to zero.
        assert np.mean(w == 0) < 0.5, name


def test_clusters_of_the_incoming_model_are_clusters_in_the_file(
    trained: TFLiteModel, holed: KerasModel
) -> None:
    before, after = holed.kernels()["scores"], stored(trained, holed)["scores"]
    assert np.all(distinct_per_channel(after) <= distinct_per_channel(before))
    for value in np.unique(before):
        assert len(np.unique(after[before == value])) == 1
    assert lost_clusters(holed.kernels(), stored(trained, holed)) == []


def test_a_cluster_that_was_split_is_reported(holed: KerasModel, trained: TFLiteModel) -> None:
    after = stored(trained, holed)
    after["scores"] = after["scores"] + np.arange(len(after["scores"]))[:, None]
    (sentence,) = lost_clusters(holed.kernels(), after)
    assert sentence.startswith("scores has ")
    assert sentence.endswith(" values in a channel of what were 4 clusters")


def test_clusters_of_a_depthwise_kernel_are_counted_per_channel() -> None:
    """A normalization with a negative scale flips the sign of all weights of a channel, and splits no cluster."""
    name, w = "blur/depthwise_kernel", np.full((3, 3, 4, 1), 1 / 9)
    turned = np.rint(127 * 9 * w) * np.array([1, -1, 1, 1])[:, None]
    assert lost_clusters({name: w}, {name: turned}) == []
    turned[0, 0, 0, 0] = 126
    assert lost_clusters({name: w}, {name: turned}) == [
        f"{name} has 2 values in a channel of what were 1 clusters"
    ]


def test_the_file_has_the_cross_entropy_of_the_last_validation(
    trained: TFLiteModel, progress: Silent
) -> None:
    split = drawn(1)
    logits = predict(trained, split.images, 1 / 255).astype(np.float64)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(64), split.labels]
    last = progress.rows[-1]["validation_cross_entropy"]
    np.testing.assert_allclose(losses.mean(), last, rtol=0.02)


def test_training_changes_the_weights_and_not_the_incoming_model(holed: KerasModel) -> None:
    before = holed.digest
    slow, fast = (qat(holed, epochs=1, learning_rate=rate) for rate in (1e-9, 0.05))
    assert holed.digest == before
    kernels = holed.kernels()["first"]
    # An unchanged kernel has its own codes, up to the sign and size of its channel's scale.
    for file, unmoved in ((slow, True), (fast, False)):
        codes = stored(file, holed)["first"]
        most = np.abs(kernels).max(axis=(0, 1, 2))
        drift = np.abs(np.abs(codes) - np.abs(np.round(kernels / most * 127)))
        assert (drift.max() <= 1) == unmoved


def test_a_killed_run_resumes_to_the_same_file(
    tmp_path: Path, holed: KerasModel, trained: TFLiteModel
) -> None:
    class Killed(Silent):
        def epoch(self, row: dict[str, float]) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        qat(holed, tmp_path, Killed(), epochs=2)
    goes_on = Silent()
    resumed = qat(holed, tmp_path, goes_on, epochs=2)
    assert (goes_on.done, len(goes_on.rows)) == (1, 1)
    assert resumed.content == trained.content


def test_a_pattern_of_the_incoming_model_is_in_the_file() -> None:
    model = residual()
    w = model.kernel_variables()["separable/pointwise_kernel"]
    w.assign(np.where(np.arange(8)[:, None] % 4 < 2, 0, w.numpy()))
    after = stored(qat(model, epochs=1), model)
    assert broken_groups(after["separable/pointwise_kernel"], "2:4")[0] == 0


def test_a_model_that_ends_in_softmax_is_trained_on_probabilities() -> None:
    k, model = keras().layers, residual().keras
    sure = keras().Model(model.input, k.Softmax(name="shares")(model.output))
    progress = Silent()
    file = qat(KerasModel(sure), progress=progress, epochs=1, learning_rate=1e-9)
    shares = predict(file, drawn(1).images, 1 / 255).astype(np.float64)
    losses = -np.log(np.maximum(shares[np.arange(64), drawn(1).labels], 1e-7))
    np.testing.assert_allclose(
        progress.rows[0]["validation_cross_entropy"], losses.mean(), rtol=0.05
    )


def test_a_layer_without_an_int8_form_is_refused_before_any_epoch() -> None:
    k = keras().layers
    image = k.Input((8, 8, 3))
    x = k.LayerNormalization(name="norm")(k.Conv2D(3, 3, name="conv")(image))
    model = KerasModel(keras().Model(image, k.GlobalAveragePooling2D()(x)))
    progress = Silent()
    with pytest.raises(
        ValueError, match=r"layer 'norm' \(LayerNormalization\) has no int8 form in training: use"
    ):
        qat(model, progress=progress, epochs=1)
    assert progress.rows == []


def test_few_images_and_one_step_are_enough(toy_model: KerasModel, toy_view: TaskView) -> None:
    few = Split(toy_view.train.images[:3], toy_view.train.labels[:3])
    stage = Qat(epochs=1, learning_rate=0.01, calibration=2)
    file = stage.apply(toy_model, replace(toy_view, train=few), seed=0)
    images = toy_view.validation
    right = predict(file, images.images, 1 / 255).argmax(axis=1) == images.labels
    assert right.mean() > 0.8


def test_zeros_of_prune_are_verified_in_the_int8_file(
    context: RunContext, toy_model: KerasModel
) -> None:
    stages = (Prune(sparsity=0.5, epochs=0), Qat(epochs=1, learning_rate=0.01))
    Pipeline(stages).run(toy_model, context)
    pruned, small = read_from(context.results)[1:]
    assert small.sparsity >= pruned.sparsity == 0.5
    assert small.weight_types["int8"] == sum(k.size for k in toy_model.kernels().values())
    assert small.file_bytes < pruned.file_bytes
