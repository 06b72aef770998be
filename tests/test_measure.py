"""Measuring: numbers worked out by hand, laws of the formulas, and one door to the test images."""

from __future__ import annotations

import ast
import base64
import dataclasses
import gzip
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tflite_examples import dataset, edited, export, float16, functional, int8

import baselines
import compress
from compress import backend, interpreter, tflite_file
from compress.measure import (
    LEAST_PROBABILITY,
    cross_entropy,
    digest_of_test,
    gzip_bytes,
    is_correct,
    log_of_probabilities,
    log_softmax,
    measure,
    predict,
    top1,
)
from compress.model import TFLiteModel
from compress.result import Result, unpack_bits
from compress.statistics import wilson_interval
from compress.task import Dataset, Split
from compress.tflite_reader import read

SCALE = 1 / 255
CLASSES = 3
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 6, 6, 2), dtype=np.uint8)
LABELS = np.random.default_rng(1).integers(0, CLASSES, 40)
CONV = ("Conv2D", {"filters": 4, "kernel_size": 3, "padding": "same"})
HEAD = (("ReLU", {}), ("Flatten", {}), ("Dense", {"units": CLASSES}))


@pytest.fixture(scope="module")
def model() -> Any:
    return functional((6, 6, 2), CONV, *HEAD)


@pytest.fixture(scope="module")
def content(model: Any) -> bytes:
    return export(model)


@pytest.fixture(scope="module")
def content_int8(model: Any) -> bytes:
    return export(model, int8(IMAGES.astype(np.float32) * np.float32(SCALE)))


@pytest.fixture(scope="module")
def images() -> Dataset:
    return dataset(Split(IMAGES, LABELS), CLASSES)


def pointer() -> bytes:
    """A file for 1x1x3 images that gives the three pixels back: the brightest is its answer."""
    model = functional((1, 1, 3), ("Flatten", {}), ("Dense", {"units": 3, "use_bias": False}))
    model.layers[-1].set_weights([np.eye(3)])
    return export(model)


def test_the_file_gives_what_the_keras_model_gives(model: Any, content: bytes) -> None:
    expected = model.predict(IMAGES * np.float32(SCALE), verbose=0)
    np.testing.assert_allclose(predict(content, IMAGES, SCALE), expected, rtol=1e-4, atol=1e-4)


def test_the_order_of_images_is_kept_however_many_there_are(content: bytes) -> None:
    whole = predict(content, IMAGES, SCALE)
    for n in (1, 2, 7):
        np.testing.assert_array_equal(predict(content, IMAGES[:n], SCALE), whole[:n])


def test_int8_scores_are_dequantized_to_near_the_float_scores(
    content: bytes, content_int8: bytes
) -> None:
    (output,) = read(content_int8).outputs
    (step,), (zero,) = output.scales, output.zero_points
    scores = predict(content_int8, IMAGES, SCALE)
    codes = scores / step + zero
    assert scores.dtype == np.float32
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-3)
    assert -128 <= codes.min() <= codes.max() <= 127
    spread = np.ptp(predict(content, IMAGES, SCALE))
    assert np.abs(scores - predict(content, IMAGES, SCALE)).max() < 0.05 * spread


@given(st.floats(1e-3, 1), st.integers(-128, 127), st.floats(1e-3, 1))
def test_a_pixel_becomes_the_code_nearest_to_it_or_the_last_one_there_is(
    scale: float, zero_point: int, input_scale: float
) -> None:
    codes = interpreter.pixel_table(np.dtype(np.int8), scale, zero_point, input_scale)
    seen = np.arange(256) * input_scale
    inside = (codes > -128) & (codes < 127)
    back = (codes.astype(float) - zero_point) * scale
    assert (np.abs(back - seen)[inside] <= scale * 0.5001 + 1e-6 * seen[inside]).all()
    assert (np.diff(codes.astype(int)) >= 0).all()


def test_raw_pixels_go_to_8_bit_inputs_of_scale_one_pixel() -> None:
    signed = interpreter.pixel_table(np.dtype(np.int8), SCALE, -128, SCALE)
    unsigned = interpreter.pixel_table(np.dtype(np.uint8), SCALE, 0, SCALE)
    floating = interpreter.pixel_table(np.dtype(np.float32), 0.0, 0, SCALE)
    assert (signed == np.arange(256) - 128).all()
    assert (unsigned == np.arange(256)).all()
    assert floating.dtype == np.float32
    assert (floating == np.arange(256, dtype=np.uint8) * np.float32(SCALE)).all()


def test_everything_about_a_file_that_points_at_the_brightest_pixel() -> None:
    brightest = np.array([0, 1, 2, 1, 0, 2, 1])
    shown = np.full((7, 1, 1, 3), 10, np.uint8)
    shown[np.arange(7), 0, 0, brightest] = 200
    labels = np.array([0, 1, 2, 1, 0, 0, 0])  # the last two are wrong
    content = pointer()
    found = measure(TFLiteModel(content), dataset(Split(shown, labels), 3), SCALE)
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
    assert found.gzip_bytes == len(gzip.compress(content, compresslevel=9, mtime=0))
    assert found.tflite_digest == TFLiteModel(content).digest


def test_a_softmax_in_the_file_changes_no_number_but_its_own_macs_and_bytes(
    model: Any, content: bytes, images: Dataset
) -> None:
    twin = functional((6, 6, 2), CONV, *HEAD, ("Softmax", {}))
    for theirs, ours in zip(twin.layers, model.layers, strict=False):
        theirs.set_weights([w / 10 for w in ours.get_weights()])
    tamed = functional((6, 6, 2), CONV, *HEAD)
    tamed.set_weights([w / 10 for w in model.get_weights()])
    with_softmax = dataclasses.asdict(measure(TFLiteModel(export(twin)), images, SCALE))
    without = dataclasses.asdict(measure(TFLiteModel(export(tamed)), images, SCALE))
    assert with_softmax["cross_entropy"] == pytest.approx(without["cross_entropy"], rel=1e-4)
    for key in ("top1", "correct", "stored_params", "macs", "sparsity"):
        assert with_softmax[key] == without[key]


def int8_within(converter: Any) -> None:
    """Choose int8 inside and float32 outside, so that the last operator is a DEQUANTIZE."""
    int8(IMAGES * np.float32(SCALE))(converter)
    float32 = backend.tensorflow().float32
    converter.inference_input_type = converter.inference_output_type = float32


@pytest.mark.parametrize("choose", [float16, int8(IMAGES * np.float32(SCALE)), int8_within])
def test_a_softmax_is_seen_also_before_a_change_of_number_type(choose: Any) -> None:
    softmax = functional((6, 6, 2), CONV, *HEAD, ("Softmax", {}))
    assert tflite_file.ends_in_softmax(read(export(softmax, choose)))
    logits = functional((6, 6, 2), CONV, *HEAD)
    assert not tflite_file.ends_in_softmax(read(export(logits, choose)))


LOGITS = arrays(np.float64, (4, 5), elements=st.floats(-30, 30))
ANY_LABELS = arrays(np.int64, 4, elements=st.integers(0, 4))


@given(LOGITS, ANY_LABELS, st.floats(-1e6, 1e6))
def test_cross_entropy_is_that_of_the_softmax_and_no_shift_changes_it(
    logits: np.ndarray, labels: np.ndarray, shift: float
) -> None:
    naive = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -np.log(naive[np.arange(4), labels]).mean()
    assert cross_entropy(log_softmax(logits), labels) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    shifted = cross_entropy(log_softmax(logits + shift), labels)
    assert shifted == pytest.approx(expected, rel=1e-6, abs=1e-6)
    from_probabilities = cross_entropy(log_of_probabilities(naive), labels)
    assert from_probabilities <= expected + 1e-9
    assert from_probabilities <= -np.log(LEAST_PROBABILITY)


def test_cross_entropy_at_its_ends() -> None:
    assert cross_entropy(log_softmax(np.zeros((2, 10))), np.array([3, 4])) == pytest.approx(
        np.log(10)
    )
    huge = np.array([[1e30, -1e30]], np.float32)
    assert cross_entropy(log_softmax(huge), np.array([0])) == 0
    assert np.isfinite(cross_entropy(log_softmax(huge), np.array([1])))
    never = cross_entropy(log_of_probabilities(np.array([[1.0, 0.0]])), np.array([1]))
    assert never == pytest.approx(7 * np.log(10))


@given(LOGITS, ANY_LABELS)
def test_top1_is_the_mean_of_what_is_correct(logits: np.ndarray, labels: np.ndarray) -> None:
    assert top1(logits, labels) == is_correct(logits, labels).sum() / 4
    assert top1(logits, logits.argmax(axis=1)) == 1


def test_of_equal_scores_the_first_class_counts() -> None:
    assert is_correct(np.zeros((2, 3)), np.array([0, 1])).tolist() == [True, False]


@given(st.binary(max_size=300))
def test_gzip_bytes_is_the_length_of_a_stream_that_gives_the_file_back(content: bytes) -> None:
    stream = gzip.compress(content, 9, mtime=0)
    assert gzip.decompress(stream) == content
    assert gzip_bytes(content) == len(stream) == gzip_bytes(content)


def test_progress_only_grows_and_ends_at_the_number_of_images(content: bytes) -> None:
    told: list[int] = []
    many = np.repeat(IMAGES, 15, axis=0)
    predict(content, many, SCALE, told.append)
    assert told == sorted(told)
    assert told[-1] == len(many)
    assert len(told) >= 3


@pytest.mark.parametrize(
    ("shape", "classes", "sentence"),
    [
        ((5, 5, 2), 3, "takes images of 6x6x2, the data has 5x5x2: give a file made for these"),
        ((6, 6, 1), 3, "takes images of 6x6x2, the data has 6x6x1"),
        ((6, 6, 2), 10, "tells 3 classes apart, the data has 10"),
    ],
)
def test_data_that_does_not_fit_the_file_is_said_in_a_sentence(
    content: bytes, shape: tuple[int, ...], classes: int, sentence: str
) -> None:
    other = dataset(Split(np.zeros((2, *shape), np.uint8), np.zeros(2, np.int64)), classes)
    with pytest.raises(ValueError, match=sentence):
        measure(TFLiteModel(content), other, SCALE)


def test_a_file_that_takes_several_images_at_a_time_is_refused(content: bytes) -> None:
    def four(model: Any) -> None:
        graph = model.subgraphs[0]
        graph.tensors[graph.inputs[0]].shape = [4, 6, 6, 2]

    with pytest.raises(ValueError, match=r"takes 4x6x6x2 .* export it to take one image"):
        predict(edited(content, four), IMAGES, SCALE)


def test_a_file_of_two_outputs_is_refused(content: bytes) -> None:
    def twice(model: Any) -> None:
        model.subgraphs[0].outputs = list(model.subgraphs[0].outputs) * 2

    with pytest.raises(ValueError, match="has 1 inputs and 2 outputs"):
        predict(edited(content, twice), IMAGES, SCALE)


def test_scores_that_are_not_numbers_are_an_error_that_counts_them(model: Any) -> None:
    broken = functional((6, 6, 2), CONV, *HEAD)
    weights = model.get_weights()
    weights[-1] = np.array([np.nan, 0, 0])
    broken.set_weights(weights)
    with pytest.raises(ValueError, match="NaN or infinite scores for 40 of 40 images"):
        predict(export(broken), IMAGES, SCALE)


def test_a_damaged_file_is_refused_before_the_test_images_are_opened(content: bytes) -> None:
    def never() -> Split:
        raise AssertionError("opened")

    none = Split(IMAGES[:0], LABELS[:0])
    data = Dataset("hand-made", ("a", "b", "c"), none, none, never)
    for damaged in (content[: len(content) // 2], b"text that is no TFLite file"):
        with pytest.raises(ValueError, match="not a readable TFLite file"):
            measure(TFLiteModel(damaged), data, SCALE)


def test_flipped_bytes_never_bring_this_process_down(content: bytes, images: Dataset) -> None:
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(12):
        damaged = bytearray(content)
        for place in rng.integers(8, len(damaged), size=4):
            damaged[place] = rng.integers(256)
        try:
            measure(TFLiteModel(bytes(damaged)), images, SCALE)
        except ValueError:
            refused += 1
    assert refused > 3


def test_an_operator_that_litert_does_not_know_is_a_sentence(content: bytes) -> None:
    def unknown(model: Any) -> None:
        model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = 125

    with pytest.raises(ValueError, match=r"LiteRT cannot run this TFLite file: .*Export the file"):
        predict(edited(content, unknown), IMAGES, SCALE)


def test_litert_dying_of_a_file_is_an_error_here(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\nkill -s SEGV $$\n")
    dying.chmod(dying.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(dying))
    with pytest.raises(ValueError, match="it died of signal 11"):
        predict(content, IMAGES, SCALE)


def test_stopping_in_the_middle_kills_the_other_process(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    popen = subprocess.Popen

    def start(*words: Any, **settings: Any) -> Any:
        started.append(popen(*words, **settings))
        return started[-1]

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(KeyboardInterrupt):
        predict(content, np.repeat(IMAGES, 500, axis=0), SCALE, stop)
    assert [process.returncode for process in started] == [-signal.SIGKILL]


def test_the_digest_of_the_test_split_is_that_of_its_images(images: Dataset) -> None:
    assert digest_of_test(images) == Split(IMAGES, LABELS).digest
    assert digest_of_test(images) != Split(IMAGES, LABELS[::-1].copy()).digest


def test_bits_are_packed_eight_images_to_a_byte(content: bytes, images: Dataset) -> None:
    found = measure(TFLiteModel(content), images, SCALE)
    assert len(base64.b64decode(found.correct)) == 5
    scores = predict(content, IMAGES, SCALE)
    assert (unpack_bits(found.correct, 40) == is_correct(scores, LABELS)).all()


def test_measure_alone_opens_the_test_images() -> None:
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
    assert openers == {"measure.py"}


def test_every_field_of_a_row_is_explained() -> None:
    page = Path(__file__).parents[1] / "docs" / "measuring.md"
    explained = set(re.findall(r"`(\w+)`", page.read_text()))
    assert {field.name for field in dataclasses.fields(Result)} <= explained
