"""Measuring: numbers worked out by hand, refusals in a sentence, and few places that open the test images."""

from __future__ import annotations

import ast
import base64
import dataclasses
import gzip
import lzma
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import baselines
import compress
from compress import backend
from compress.data.dataset import Dataset, Split
from compress.measurement.measure import digest_of_test, measure, predict
from compress.measurement.scores import is_correct, log_softmax
from compress.rows.bits import unpack_bits
from compress.rows.measurement import RUNS
from compress.rows.result import Result
from compress.statistics.significance import wilson_interval
from compress.tflite import contents
from compress.tflite.flatbuffer import read
from compress.tflite.model import TFLiteModel
from support import small_convnet
from support.small_convnet import CLASSES, CONV, HEAD, IMAGES, SCALE
from support.tflite_examples import dataset, edited, export, float16, functional, int8

LABELS = np.random.default_rng(1).integers(0, CLASSES, 40)


@pytest.fixture
def model() -> Any:
    return small_convnet.model()


@pytest.fixture
def content() -> bytes:
    return small_convnet.content()


@pytest.fixture(scope="module")
def images() -> Dataset:
    return dataset(Split(IMAGES, LABELS), CLASSES)


def pointer() -> bytes:
    """A file for 1x1x3 images that returns the three pixels as scores: it predicts the brightest."""
    model = functional((1, 1, 3), ("Flatten", {}), ("Dense", {"units": 3, "use_bias": False}))
    model.layers[-1].set_weights([np.eye(3)])
    return export(model)


def test_every_measured_number_matches_a_file_worked_out_by_hand() -> None:
    brightest = np.array([0, 1, 2, 1, 0, 2, 1])
    shown = np.full((7, 1, 1, 3), 10, np.uint8)
    shown[np.arange(7), 0, 0, brightest] = 200
    labels = np.array([0, 1, 2, 1, 0, 0, 0])  # the last two are wrong
    content = pointer()
    found, _ = measure(TFLiteModel(content), dataset(Split(shown, labels), 3), SCALE)
    assert found.top1 == 5 / 7
    assert (found.top1_low, found.top1_high) == wilson_interval(5, 7)
    assert found.test_images == 7
    assert unpack_bits(found.correct, 7).tolist() == [True] * 5 + [False] * 2
    high, low = np.exp(200 / 255), np.exp(10 / 255)
    right, wrong = -np.log(high / (high + 2 * low)), -np.log(low / (high + 2 * low))
    assert found.cross_entropy == pytest.approx((5 * right + 2 * wrong) / 7, rel=1e-6)
    assert (found.stored_params, found.nonzero_params, found.macs) == (9, 3, 9)
    assert found.sparsity == 6 / 9
    assert list(found.kernel_sparsity.values()) == [6 / 9]
    assert found.weight_types == {"float32": 9}
    assert found.file_bytes == len(content)
    assert found.file_parts is not None
    assert found.file_parts["weights"] == 9 * 4
    assert sum(found.file_parts.values()) == len(content)
    assert found.coded_bytes is not None
    assert found.coded_bytes["xz"] == len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))
    assert found.weight_coding is not None
    assert found.weight_coding["stored_bits"] == 32
    assert found.gzip_bytes == len(gzip.compress(content, compresslevel=9, mtime=0))
    assert found.tflite_digest == TFLiteModel(content).digest


def test_a_softmax_in_the_file_changes_neither_accuracy_nor_cross_entropy(
    model: Any, content: bytes, images: Dataset
) -> None:
    twin = functional((6, 6, 2), CONV, *HEAD, ("Softmax", {}))
    for theirs, ours in zip(twin.layers, model.layers, strict=False):
        theirs.set_weights([w / 10 for w in ours.get_weights()])
    tamed = functional((6, 6, 2), CONV, *HEAD)
    tamed.set_weights([w / 10 for w in model.get_weights()])
    with_softmax = dataclasses.asdict(measure(TFLiteModel(export(twin)), images, SCALE)[0])
    without = dataclasses.asdict(measure(TFLiteModel(export(tamed)), images, SCALE)[0])
    assert with_softmax["cross_entropy"] == pytest.approx(without["cross_entropy"], rel=1e-4)
    for key in ("top1", "correct", "stored_params", "macs", "sparsity"):
        assert with_softmax[key] == without[key]


def int8_within(converter: Any) -> None:
    """Choose int8 inside and float32 outside, so that the last operator is a DEQUANTIZE."""
    int8(IMAGES * np.float32(SCALE))(converter)
    float32 = backend.tensorflow().float32
    converter.inference_input_type = converter.inference_output_type = float32


@pytest.mark.parametrize("choose", [float16, int8(IMAGES * np.float32(SCALE)), int8_within])
def test_a_final_softmax_is_recognized_before_a_dequantize(choose: Any) -> None:
    softmax = functional((6, 6, 2), CONV, *HEAD, ("Softmax", {}))
    assert contents.ends_in_softmax(read(export(softmax, choose)))
    logits = functional((6, 6, 2), CONV, *HEAD)
    assert not contents.ends_in_softmax(read(export(logits, choose)))


@pytest.mark.parametrize(
    ("shape", "classes", "sentence"),
    [
        ((5, 5, 2), 3, "takes images of 6x6x2, the data has 5x5x2: give a file made for these"),
        ((6, 6, 1), 3, "takes images of 6x6x2, the data has 6x6x1"),
        ((6, 6, 2), 10, "gives scores of 3 classes, the data has 10"),
    ],
)
def test_data_that_does_not_fit_the_file_is_refused_in_a_sentence(
    content: bytes, shape: tuple[int, ...], classes: int, sentence: str
) -> None:
    other = dataset(Split(np.zeros((2, *shape), np.uint8), np.zeros(2, np.int64)), classes)
    with pytest.raises(ValueError, match=sentence):
        measure(TFLiteModel(content), other, SCALE)


def test_a_file_with_a_batch_size_of_several_images_is_refused(content: bytes) -> None:
    def four(model: Any) -> None:
        graph = model.subgraphs[0]
        graph.tensors[graph.inputs[0]].shape = [4, 6, 6, 2]

    with pytest.raises(ValueError, match=r"takes 4x6x6x2 .* export it to take one image"):
        predict(TFLiteModel(edited(content, four)), IMAGES, SCALE)


def test_a_file_of_two_outputs_is_refused(content: bytes) -> None:
    def twice(model: Any) -> None:
        model.subgraphs[0].outputs = list(model.subgraphs[0].outputs) * 2

    with pytest.raises(ValueError, match="has 1 inputs and 2 outputs"):
        predict(TFLiteModel(edited(content, twice)), IMAGES, SCALE)


def test_nan_scores_are_an_error_that_counts_the_images(model: Any) -> None:
    broken = functional((6, 6, 2), CONV, *HEAD)
    weights = model.get_weights()
    weights[-1] = np.array([np.nan, 0, 0])
    broken.set_weights(weights)
    with pytest.raises(ValueError, match="NaN or infinite scores for 40 of 40 images"):
        predict(TFLiteModel(export(broken)), IMAGES, SCALE)


def test_a_damaged_file_is_refused_before_the_test_images_are_opened(content: bytes) -> None:
    def never() -> Split:
        raise AssertionError("opened")

    none = Split(IMAGES[:0], LABELS[:0])
    data = Dataset("hand-made", ("a", "b", "c"), none, none, never)
    for damaged in (content[: len(content) // 2], b"text that is no TFLite file"):
        with pytest.raises(ValueError, match="not a readable TFLite file"):
            measure(TFLiteModel(damaged), data, SCALE)


def test_damaged_files_never_crash_this_process(content: bytes, images: Dataset) -> None:
    rng = np.random.default_rng(0)
    sentences = []
    for _ in range(12):
        damaged = bytearray(content)
        for place in rng.integers(8, len(damaged), size=4):
            damaged[place] = rng.integers(256)
        model = TFLiteModel(bytes(damaged))
        try:
            found, predicted = measure(model, images, SCALE)
        except ValueError as error:
            sentences.append(str(error))
            continue
        # The measured numbers agree with the predictions of the damaged file.
        assert found.tflite_digest == model.digest
        assert found.top1 == (predicted.classes == LABELS).mean()
    assert sentences != []
    assert all(said.endswith(".") and "\n" not in said for said in sentences)


def test_measure_returns_the_prediction_for_each_image(content: bytes, images: Dataset) -> None:
    found, predicted = measure(TFLiteModel(content), images, SCALE)
    scores = predict(TFLiteModel(content), IMAGES, SCALE)
    assert (predicted.classes == scores.argmax(axis=1)).all()
    assert (predicted.labels == LABELS).all()
    assert ((predicted.classes == LABELS) == unpack_bits(found.correct, 40)).all()
    highest = np.exp(log_softmax(scores)).max(axis=1)
    np.testing.assert_allclose(predicted.probabilities.astype(float), highest, rtol=1e-3)


def test_digest_of_test_is_the_digest_of_the_test_images(images: Dataset) -> None:
    assert digest_of_test(images) == Split(IMAGES, LABELS).digest
    assert digest_of_test(images) != Split(IMAGES, LABELS[::-1].copy()).digest


def test_correct_bits_are_packed_eight_images_to_a_byte(content: bytes, images: Dataset) -> None:
    found, _ = measure(TFLiteModel(content), images, SCALE)
    assert len(base64.b64decode(found.correct)) == 5
    scores = predict(TFLiteModel(content), IMAGES, SCALE)
    assert (unpack_bits(found.correct, 40) == is_correct(scores, LABELS)).all()


def test_measuring_on_validation_images_does_not_open_the_test_images(content: bytes) -> None:
    def never() -> Split:
        raise AssertionError("opened")

    none = Split(IMAGES[:0], LABELS[:0])
    chosen = Split(IMAGES[:30], LABELS[:30])
    data = Dataset("hand-made", ("a", "b", "c"), none, chosen, never)
    found, _ = measure(TFLiteModel(content), data, SCALE, on="validation")
    assert (found.measured_on, found.test_images) == ("validation", 30)
    correct = is_correct(predict(TFLiteModel(content), chosen.images, SCALE), chosen.labels)
    assert (unpack_bits(found.correct, 30) == correct).all()


def test_measuring_uses_test_images_by_default(content: bytes, images: Dataset) -> None:
    found, _ = measure(TFLiteModel(content), images, SCALE)
    assert (found.measured_on, found.test_images) == ("test", 40)


def test_only_measure_and_two_commands_open_the_test_images() -> None:
    roots = [Path(package.__path__[0]) for package in (compress, baselines)]
    sources = [source for root in roots for source in root.rglob("*.py")]
    openers = {
        source.name
        for source in sources
        for node in ast.walk(ast.parse(source.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr == "open_test")
        or (isinstance(node, ast.Constant) and node.value == "open_test")
    }
    assert len(sources) > 20
    # `data --check` compares pixels across splits; `compare` shows images on which two measured models differ.
    assert openers == {"measure.py", "data_command.py", "compare_command.py"}


def test_every_field_of_a_row_is_explained() -> None:
    page = Path(__file__).parents[2] / "docs" / "measuring.md"
    explained = set(re.findall(r"`(\w+)`", page.read_text()))
    assert {field.name for field in dataclasses.fields(Result)} <= explained


def test_a_file_that_tflm_runs_is_measured_with_its_arena_and_its_accuracy_on_tflm(
    model: Any,
) -> None:
    seen = IMAGES.astype(np.float32) * np.float32(SCALE)
    images = dataset(Split(IMAGES, LABELS), CLASSES)
    measured, _ = measure(
        TFLiteModel(export(model, int8(seen))), images, SCALE, micro_accuracy=True
    )
    assert measured.on_micro == RUNS
    assert measured.arena_bytes == sum((measured.arena_parts or {}).values())
    moved = abs((measured.micro_top1 or 0) - measured.top1) * len(IMAGES)
    assert measured.micro_disagreements is not None
    assert moved <= measured.micro_disagreements + 1e-9


def test_a_file_that_tflm_does_not_run_is_measured_and_records_the_reason(
    model: Any, images: Dataset
) -> None:
    measured, _ = measure(TFLiteModel(export(model, float16)), images, SCALE, micro_accuracy=True)
    assert "float16" in (measured.on_micro or "")
    assert (measured.arena_bytes, measured.micro_top1) == (None, None)


def test_without_tflite_micro_the_tflm_fields_are_empty_unless_requested(
    content: bytes, images: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compress.micro.interpreter.is_installed", lambda: False)
    assert measure(TFLiteModel(content), images, SCALE)[0].on_micro is None
    with pytest.raises(ValueError, match=r"pip install 'compress-cnn\[micro\]'"):
        measure(TFLiteModel(content), images, SCALE, micro_accuracy=True)
