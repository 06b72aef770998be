"""encode makes a smaller file for TFLM with the same weights and scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compress.keras_models.model import KerasModel
from compress.measurement.measure import measure
from compress.micro import interpreter
from compress.micro.encode import encoded
from compress.pipelines.pipeline import Pipeline
from compress.rows.measurement import RUNS
from compress.stages.encode import Encode
from compress.stages.quantize import Quantize
from compress.tasks.view import TaskView
from compress.tflite import contents, ledger
from compress.tflite.decode import NAME
from compress.tflite.flatbuffer import read
from compress.tflite.model import TFLiteModel
from support.tflite_examples import edited, export, functional, int8

SEEN = np.random.default_rng(0).random((20, 8, 8, 3), np.float32)
PIXELS = np.random.default_rng(1).integers(0, 256, (1000, 8, 8, 3), np.uint8)
BOTH = ("bitmap", "table")


def network(change: Any) -> bytes:
    """An int8 file of convolutions with per-channel scales, a depthwise one and a dense layer, after `change`."""
    model = functional(
        (8, 8, 3),
        ("Conv2D", {"filters": 24, "kernel_size": 3, "activation": "relu"}),
        ("DepthwiseConv2D", {"kernel_size": 3, "depth_multiplier": 4}),
        ("Conv2D", {"filters": 16, "kernel_size": 1}),
        ("Flatten", {}),
        ("Dense", {"units": 10}),
    )
    for layer in model.layers:
        if weights := layer.get_weights():
            layer.set_weights([change(weights[0]), *weights[1:]])
    return export(model, int8(SEEN))


def pruned(kernel: np.ndarray) -> np.ndarray:
    return np.where(np.abs(kernel) < np.quantile(np.abs(kernel), 0.8), 0, kernel)


def clustered(kernel: np.ndarray) -> np.ndarray:
    return np.sign(kernel) * np.where(np.abs(kernel) > 0.7, 1.0, 0.3)


@pytest.mark.parametrize(
    ("change", "coding"), [(pruned, "bitmap"), (clustered, "table")], ids=["pruned", "clustered"]
)
def test_the_encoded_file_is_smaller_and_has_the_same_scores_in_tflm(
    change: Any, coding: str
) -> None:
    plain = network(change)
    content, codings = encoded(plain, BOTH)
    assert len(content) < len(plain)
    assert coding in codings.values()
    for ours, theirs in zip(contents.kernels(content), contents.kernels(plain), strict=True):
        np.testing.assert_array_equal(ours.values, theirs.values)
    ours, theirs = (interpreter.scores(file, PIXELS, 1 / 255) for file in (content, plain))
    np.testing.assert_array_equal(ours, theirs)


def test_encoding_keeps_sparsity_and_parameters_and_reduces_the_bytes_of_weights() -> None:
    plain = network(pruned)
    content, _ = encoded(plain, BOTH)
    before, after = (contents.stored_in(read(file)) for file in (plain, content))
    assert contents.sparsity(before) == contents.sparsity(after) > 0.7
    assert contents.stored_params(before) == contents.stored_params(after)
    parts, shorter = (ledger.file_parts(TFLiteModel(file)) for file in (plain, content))
    assert sum(shorter.values()) == len(content)
    assert shorter["weights"] < 0.5 * parts["weights"]
    assert shorter["biases"] == parts["biases"]


def test_a_kernel_is_encoded_only_where_the_file_becomes_smaller() -> None:
    plain = network(lambda kernel: kernel)
    assert encoded(plain, ("bitmap",)) == (plain, {})


def test_an_encoded_file_is_not_encoded_again() -> None:
    content, _ = encoded(network(pruned), BOTH)
    with pytest.raises(ValueError, match="encoded already"):
        encoded(content, BOTH)


def test_a_damaged_encoding_is_refused_as_unreadable() -> None:
    def cut(model: Any) -> None:
        graph = model.subgraphs[0]
        operator = next(o for o in graph.operators if len(o.outputs) == 1 and len(o.inputs) == 2)
        buffer = model.buffers[graph.tensors[operator.inputs[1]].buffer]
        buffer.data = buffer.data[:20]

    content, _ = encoded(network(pruned), BOTH)
    with pytest.raises(ValueError, match="not a readable TFLite file"):
        read(edited(content, cut))


@pytest.fixture
def sparse(toy_model: KerasModel, toy_view: TaskView) -> TFLiteModel:
    model = toy_model.copy()
    for variable in model.kernel_variables().values():
        variable.assign(pruned(np.array(variable)))
    return model.to_tflite("int8", toy_view.train.images[:20] * np.float32(1 / 255))


def test_an_encoded_file_is_measured_by_tflm_and_has_a_note(
    sparse: TFLiteModel, toy_view: TaskView, toy_data: Any
) -> None:
    file = Encode().apply(sparse, toy_view, seed=0)
    assert any("only TFLM runs the file" in note for note in file.notes)
    assert toy_view.recorded["encoded_kernels"] > 0
    before, after = (measure(m, toy_data, 1 / 255, micro_accuracy=True)[0] for m in (sparse, file))
    assert after.on_micro == RUNS
    assert after.micro_top1 == after.top1 == before.micro_top1
    assert after.file_bytes < before.file_bytes
    assert after.macs == before.macs


def test_dense_weights_are_not_encoded_and_a_note_says_why(
    toy_model: KerasModel, toy_view: TaskView
) -> None:
    plain = toy_model.to_tflite("int8", toy_view.train.images[:20] * np.float32(1 / 255))
    file = Encode(coding="bitmap").apply(plain, toy_view, seed=0)
    assert file.content == plain.content
    assert "prune or cluster it before" in file.notes[-1]


def test_an_encoded_file_with_other_scores_in_tflm_is_refused(
    sparse: TFLiteModel, toy_view: TaskView, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(content: bytes, images: np.ndarray, scale: float) -> np.ndarray:
        return np.full((len(images), 3), float(NAME.encode() in content), np.float32)

    monkeypatch.setattr("compress.stages.encode.interpreter.scores", wrong)
    with pytest.raises(ValueError, match="computes something else with the encoded file"):
        Encode().apply(sparse, toy_view, seed=0)


def test_a_file_that_tflm_cannot_run_is_refused_before_any_work(
    toy_model: KerasModel, toy_view: TaskView
) -> None:
    stages = (Quantize(scheme="dynamic"), Encode())
    with pytest.raises(
        ValueError, match=r"^encode: TFLM must run .* scheme dynamic computes in float"
    ):
        Pipeline(stages).check(toy_model, toy_view)
    Pipeline((Quantize(), Encode())).check(toy_model, toy_view)


def test_encode_without_tflite_micro_is_refused_before_any_work(
    toy_model: KerasModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compress.micro.interpreter.is_installed", lambda: False)
    with pytest.raises(ValueError, match=r"pip install 'compress-cnn\[micro\]'"):
        Encode().check(toy_model)
