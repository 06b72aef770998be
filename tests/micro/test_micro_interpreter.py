"""TFLM runs files as on a microcontroller, gives the arena size, and refuses a file with the reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compress.micro import interpreter
from compress.micro.arena import parsed
from compress.micro.refusal import NotOnMicro
from compress.tflite import interpreter as litert
from support.small_convnet import IMAGES, SCALE, model
from support.tflite_examples import edited, export, float16, functional, int8

SEEN = IMAGES.astype(np.float32) * np.float32(SCALE)


@pytest.fixture(scope="module")
def content() -> bytes:
    return export(model(), int8(SEEN))


def test_the_arena_is_the_sum_of_head_and_tail(content: bytes) -> None:
    arena = interpreter.arena(content)
    assert arena.total == arena.head + arena.tail
    assert arena.head >= IMAGES[0].size  # the input alone, with one byte for each number
    assert arena.tail > 0


def test_the_arena_of_a_network_with_larger_images_is_larger() -> None:
    def dense(size: int) -> int:
        seen = np.zeros((1, size, size, 1), np.float32)
        layers = (("Flatten", {}), ("Dense", {"units": 2}))
        return interpreter.arena(export(functional((size, size, 1), *layers), int8(seen))).head

    assert dense(40) >= dense(8) + 40 * 40 - 8 * 8 - 64


def test_scores_are_within_4_quantization_steps_of_litert(content: bytes) -> None:
    found = interpreter.scores(content, IMAGES, SCALE)
    expected = litert.scores_apart(content, IMAGES, SCALE, lambda done: None)
    assert found.shape == expected.shape
    step = np.diff(np.unique(expected)).min()
    assert np.abs(found - expected).max() <= 4 * step


def test_progress_ends_at_the_number_of_images(content: bytes) -> None:
    told: list[int] = []
    interpreter.scores(content, IMAGES, SCALE, told.append)
    assert told[-1] == len(IMAGES)


def dynamic(converter: Any) -> None:
    from compress import backend

    converter.optimizations = [backend.tensorflow().lite.Optimize.DEFAULT]


@pytest.mark.parametrize(
    ("choose", "why"),
    [(float16, "its weights are float16"), (dynamic, "computes in float32 with int8 weights")],
    ids=["float16", "dynamic"],
)
def test_an_unsupported_number_format_is_named_with_a_scheme_that_works(
    choose: Any, why: str
) -> None:
    layers = (("Flatten", {}), ("Dense", {"units": 64}))
    content = export(functional((8, 8, 1), *layers), choose)
    with pytest.raises(NotOnMicro, match=f"{why}.*quantize --scheme int8"):
        interpreter.arena(content)


def test_an_operator_that_tflm_lacks_is_named() -> None:
    gelu = ("Activation", {"activation": "gelu"})
    content = export(functional((8, 8, 1), gelu, ("Flatten", {}), ("Dense", {"units": 2})))
    with pytest.raises(NotOnMicro, match="it has no kernel for GELU"):
        interpreter.arena(content)


def test_a_file_that_needs_too_much_memory_is_refused(content: bytes) -> None:
    def huge(graph: Any) -> None:
        tensor = graph.subgraphs[0].tensors[graph.subgraphs[0].operators[0].outputs[0]]
        tensor.shape = np.array([1, 2**15, 2**15, 4], np.int32)

    with pytest.raises(ValueError, match="TFLM cannot run"):
        interpreter.arena(edited(content, huge))


def test_output_of_tflm_without_an_arena_is_an_error() -> None:
    with pytest.raises(ValueError, match="TFLM printed no arena"):
        parsed("nothing of it")


def test_the_install_command_is_named_if_tflite_micro_is_missing(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'compress-cnn\[micro\]'"):
        interpreter.arena(content)
