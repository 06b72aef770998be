"""qat by fake quantization in Keras 3: 4-bit weights with learned steps, and graphs that tfmot refuses."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.keras_models.model import KerasModel
from compress.measurement.measure import predict
from compress.quantization import qat_export, qat_model
from compress.quantization.qat_layers import layers
from compress.stages.qat import Qat
from compress.tasks.view import TaskView
from compress.tflite import contents
from compress.tflite.model import TFLiteModel
from compress.training import learning_rate, recovery
from compress.training.recipe import Recipe
from conftest import Silent
from support.tiny_task import Tiny, drawn, residual, with_holes
from support.tiny_training import Began
from support.twins import keras

COARSE = {"first", "separable/pointwise_kernel", "scores"}


def view(folder: Path | None = None, progress: Any = None) -> TaskView:
    return TaskView(Tiny(), drawn(0), drawn(1), folder, progress or Silent(), deterministic=True)


def qat(model: KerasModel, task: TaskView, **options: Any) -> TFLiteModel:
    return Qat(**({"learning_rate": 0.02, "bits": "4"} | options)).apply(model, task, seed=1)


@pytest.fixture(scope="module")
def progress() -> Silent:
    return Silent()


@pytest.fixture(scope="module")
def holed() -> KerasModel:
    return with_holes(residual(), 0.4)


@pytest.fixture(scope="module")
def trained(holed: KerasModel, progress: Silent) -> TFLiteModel:
    before = holed.digest
    file = qat(holed, view(progress=progress), epochs=2)
    assert holed.digest == before
    return file


def test_kernels_have_four_bits_and_depthwise_kernels_eight(
    trained: TFLiteModel, holed: KerasModel
) -> None:
    stored = contents.matched_kernels(trained.graph, holed.kernels())
    assert {name for name, w in stored.items() if np.abs(w).max() <= 7} == COARSE
    types = [kernel.dtype for kernel in contents.kernels(trained.content)]
    assert (types.count("int4"), types.count("int8")) == (3, 2)
    kinds = {t.dtype for o in trained.graph.operators for t in (*o.inputs, *o.outputs) if t}
    assert kinds == {"int4", "int8", "int32"}


def test_four_bit_training_uses_a_learning_rate_that_a_trial_tried(
    holed: KerasModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning_rate, "highest_harmless", lambda *_: 0.003)
    rates: list[float] = []

    def fit(model: Any, recipe: Recipe, data: Any, **more: Any) -> None:
        rates.append(recipe.learning_rate)
        raise Began

    monkeypatch.setattr(recovery, "fit", fit)
    for bits in ("4", "8"):
        with pytest.raises(Began):
            Qat(bits=bits, epochs=40).apply(holed, view(), seed=1)
    assert rates[0] == 0.003
    assert rates[1] > 0.003


def test_zeros_stay_zeros(trained: TFLiteModel, holed: KerasModel) -> None:
    for name, w in contents.matched_kernels(trained.graph, holed.kernels()).items():
        assert not w[holed.kernels()[name] == 0].any(), name


def test_the_file_has_the_cross_entropy_of_the_last_validation(
    trained: TFLiteModel, progress: Silent
) -> None:
    split = drawn(1)
    logits = predict(trained, split.images, 1 / 255).astype(np.float64)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(64), split.labels]
    last = progress.rows[-1]["validation_cross_entropy"]
    np.testing.assert_allclose(losses.mean(), last, rtol=0.02)


def test_a_killed_run_resumes_to_the_same_file(
    tmp_path: Path, holed: KerasModel, trained: TFLiteModel
) -> None:
    class Killed(Silent):
        def epoch(self, row: dict[str, float]) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        qat(holed, view(tmp_path, Killed()), epochs=2)
    goes_on = Silent()
    resumed = qat(holed, view(tmp_path, goes_on), epochs=2)
    assert (goes_on.done, len(goes_on.rows)) == (1, 1)
    assert resumed.content == trained.content


def test_ranges_and_statistics_are_frozen_in_the_last_third_of_the_epochs() -> None:
    """The weights are still trained: the scale of the normalization, the kernel and its steps."""
    training = qat_model.fake_quantized(residual(), {"first": 4}, drawn(0).images / np.float32(255))
    norm, ranges = training.get_layer("norm"), training.get_layer("scores_range")
    seen: list[list[np.ndarray]] = []

    class Seen(keras().callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            own = training.get_layer("first")
            watched = (norm.moving_mean, ranges.high, norm.gamma, own.kernel, own.steps)
            seen.append([np.array(v) for v in watched])

    callbacks = [qat_model.freezing(training, 3), Seen()]
    view().fit(training, epochs=3, learning_rate=0.02, seed=0, callbacks=callbacks)
    moved = [
        [bool(np.any(a != b)) for a, b in zip(old, new, strict=True)] for old, new in pairwise(seen)
    ]
    assert moved == [[True] * 5, [False, False, True, True, True]]


def test_the_row_records_whether_tfmot_or_keras_simulated_the_integers() -> None:
    k = keras().layers
    image = k.Input((8, 8, 3))
    x = k.BatchNormalization()(k.Conv2D(3, 3, activation="relu", name="conv")(image))
    refused = KerasModel(keras().Model(image, k.GlobalAveragePooling2D()(x)))
    for model, bits, expected in (
        (residual(), "8", "tfmot"),
        (residual(), "4", "keras"),
        (refused, "8", "keras"),
    ):
        task = view()
        file = qat(model, task, epochs=1, bits=bits)
        assert task.recorded["simulated_by"] == expected
        assert {kernel.dtype[:3] for kernel in contents.kernels(file.content)} == {"int"}


def test_a_bfloat16_run_trains_in_float32_and_runs_its_teacher_in_bfloat16(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fitted: list[tuple[str, str | None]] = []

    def fit(self: TaskView, *words: Any, **options: Any) -> None:
        fitted.append((self.precision, self.answered_in))

    monkeypatch.setattr(TaskView, "fit", fit)
    qat(residual(), replace(view(), precision="bfloat16"), epochs=1, alpha=0.5)
    assert fitted == [("float32", "bfloat16")]


def test_weights_that_share_a_value_share_a_code_within_a_channel() -> None:
    model = residual()
    w = model.kernel_variables()["scores"]
    w.assign(np.where(np.arange(w.shape[0])[:, None] % 2, 0.3, -0.2) * np.ones(w.shape))
    file = qat(model, view(), epochs=1)
    stored = contents.matched_kernels(file.graph, model.kernels())["scores"]
    assert all(len(np.unique(stored[:, o])) <= 2 for o in range(stored.shape[1]))


def test_layers_without_4_bit_kernels_are_named_and_stay_in_8_bits() -> None:
    k = keras().layers
    image = k.Input((8, 8, 4))
    x = k.Conv2DTranspose(4, 3, name="up")(k.Conv2D(4, 3, groups=2, name="grouped")(image))
    model = KerasModel(keras().Model(image, k.Dense(3, name="scores")(k.Flatten()(x))))
    said = [finding.sentence() for finding in Qat(bits="4").check(model)]
    assert said == [
        "grouped is stored in 8 bits: TFLite has no 4-bit kernels for it.",
        "up is stored in 8 bits: TFLite has no 4-bit kernels for it.",
    ]


def test_bits_other_than_8_need_no_tfmot() -> None:
    assert "tensorflow-model-optimization" in Qat().libraries()
    assert Qat(bits="4").libraries() == ("tensorflow", "keras", "numpy")
    assert Qat().changed_options() == {}


def test_weight_averaging_finds_the_normalizations_of_fake_quantized_models() -> None:
    from compress.keras_models.layers import every_layer, is_batchnorm

    training = qat_model.fake_quantized(residual(), {}, drawn(0).images / np.float32(255))
    assert [type(n) for n in every_layer(training) if is_batchnorm(n)] == [layers().Norm]


def test_with_auto_bits_a_file_may_have_the_bytes_given_up_to_those_of_eight_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(qat_model, "fake_quantized", lambda model, bits, images: bits)
    monkeypatch.setattr(qat_export, "file_bytes", lambda bits: 60_000 if bits else 100_000)
    model = residual()
    for given, most in ((90_000, 90_000), (110_000, 100_000), (50_000, 60_000)):
        assert Qat(bits="auto", max_bytes=given).file_bytes(model) == most
    assert Qat(bits="4").file_bytes(model) == 60_000
