"""Running a file: the scores agree with the model, and a file that crashes LiteRT does not crash this process."""

from __future__ import annotations

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

from compress.measurement.measure import predict
from compress.tflite import interpreter
from compress.tflite.flatbuffer import read
from compress.tflite.model import TFLiteModel
from support import small_convnet
from support.small_convnet import IMAGES, SCALE
from support.tflite_examples import edited, export, functional, int8


@pytest.fixture
def model() -> Any:
    return small_convnet.model()


@pytest.fixture
def content() -> bytes:
    return small_convnet.content()


@pytest.fixture(scope="module")
def content_int8() -> bytes:
    return export(small_convnet.model(), int8(IMAGES.astype(np.float32) * np.float32(SCALE)))


def test_scores_of_the_file_agree_with_the_keras_model(model: Any, content: bytes) -> None:
    expected = model.predict(IMAGES * np.float32(SCALE), verbose=0)
    np.testing.assert_allclose(
        predict(TFLiteModel(content), IMAGES, SCALE), expected, rtol=1e-4, atol=1e-4
    )


def test_the_order_of_images_is_kept_for_any_number_of_images(content: bytes) -> None:
    whole = predict(TFLiteModel(content), IMAGES, SCALE)
    for n in (1, 2, 7):
        np.testing.assert_array_equal(predict(TFLiteModel(content), IMAGES[:n], SCALE), whole[:n])


def test_dequantized_int8_scores_are_close_to_the_float_scores(
    content: bytes, content_int8: bytes
) -> None:
    (output,) = read(content_int8).outputs
    (step,), (zero,) = output.scales, output.zero_points
    scores = predict(TFLiteModel(content_int8), IMAGES, SCALE)
    codes = scores / step + zero
    assert scores.dtype == np.float32
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-3)
    assert -128 <= codes.min() <= codes.max() <= 127
    spread = np.ptp(predict(TFLiteModel(content), IMAGES, SCALE))
    assert np.abs(scores - predict(TFLiteModel(content), IMAGES, SCALE)).max() < 0.05 * spread


@given(st.floats(1e-3, 1), st.integers(-128, 127), st.floats(1e-3, 1))
def test_a_pixel_becomes_the_nearest_code_and_is_clipped_at_the_ends(
    scale: float, zero_point: int, input_scale: float
) -> None:
    codes = interpreter.pixel_table(np.dtype(np.int8), scale, zero_point, input_scale)
    seen = np.arange(256) * input_scale
    inside = (codes > -128) & (codes < 127)
    back = (codes.astype(float) - zero_point) * scale
    assert (np.abs(back - seen)[inside] <= scale * 0.5001 + 1e-6 * seen[inside]).all()
    assert (np.diff(codes.astype(int)) >= 0).all()


def test_pixel_table_is_exact_for_8_bit_and_float_inputs() -> None:
    signed = interpreter.pixel_table(np.dtype(np.int8), SCALE, -128, SCALE)
    unsigned = interpreter.pixel_table(np.dtype(np.uint8), SCALE, 0, SCALE)
    floating = interpreter.pixel_table(np.dtype(np.float32), 0.0, 0, SCALE)
    assert (signed == np.arange(256) - 128).all()
    assert (unsigned == np.arange(256)).all()
    assert floating.dtype == np.float32
    assert (floating == np.arange(256, dtype=np.uint8) * np.float32(SCALE)).all()


def test_progress_increases_and_ends_at_the_number_of_images(content: bytes) -> None:
    told: list[int] = []
    many = np.repeat(IMAGES, 15, axis=0)
    predict(TFLiteModel(content), many, SCALE, told.append)
    assert told == sorted(told)
    assert told[-1] == len(many)
    assert len(told) >= 3


def test_an_unknown_operator_is_refused_in_a_sentence(content: bytes) -> None:
    def unknown(model: Any) -> None:
        model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = 125

    with pytest.raises(ValueError, match=r"LiteRT cannot run this TFLite file: .*Export the file"):
        predict(TFLiteModel(edited(content, unknown)), IMAGES, SCALE)


def test_litert_errors_that_quote_the_file_cannot_draw_on_the_terminal(content: bytes) -> None:
    def custom(model: Any) -> None:
        code = model.operatorCodes[0]
        code.builtinCode = code.deprecatedBuiltinCode = 32
        code.customCode = b"\x1b[2Jdrawn"

    with pytest.raises(ValueError, match="drawn") as caught:
        predict(TFLiteModel(edited(content, custom)), IMAGES, SCALE)
    assert str(caught.value).isprintable()


@pytest.mark.skipif(sys.platform != "linux", reason="Memory is limited on Linux alone.")
@pytest.mark.parametrize("size", [1000, 3000])
def test_a_small_file_that_takes_gigabytes_is_refused(size: int) -> None:
    enlarging = functional(
        (6, 6, 2), ("UpSampling2D", {"size": (size, size)}), ("GlobalAveragePooling2D", {})
    )
    with pytest.raises(
        ValueError, match=r"LiteRT cannot run this TFLite file: .*(memory|failed to)"
    ):
        predict(TFLiteModel(export(enlarging)), np.zeros((2, 6, 6, 2), np.uint8), SCALE)


def test_a_crash_of_litert_is_an_error_in_this_process(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\nkill -s SEGV $$\n")
    dying.chmod(dying.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(dying))
    with pytest.raises(ValueError, match="it died of signal 11"):
        predict(TFLiteModel(content), IMAGES, SCALE)


def test_an_interrupt_kills_the_litert_process(
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
        predict(TFLiteModel(content), np.repeat(IMAGES, 500, axis=0), SCALE, stop)
    assert [process.returncode for process in started] == [-signal.SIGKILL]
