"""quantize stores what it says, keeps zeros, and computes nearly the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from baselines.toy import Toy
from compress import backend
from compress.keras_models.model import KerasModel
from compress.measurement import measure
from compress.pipelines.pipeline import Pipeline
from compress.rows.jsonl import read_from
from compress.runs.context import RunContext
from compress.stages import quantize
from compress.stages.prune import Prune
from compress.stages.quantize import Quantize
from compress.tasks.view import TaskView
from compress.tflite import contents
from compress.tflite.convert import SCHEMES as SCHEME_TABLE
from compress.tflite.convert import Scheme
from compress.tflite.flatbuffer import read

SCHEMES = [scheme for scheme in quantize.FORMATS if scheme != "int4"]


@pytest.fixture(scope="module")
def wide() -> KerasModel:
    """The toy network, with kernels below and above the size from which `dynamic` stores integers."""
    backend.keras().utils.set_random_seed(0)
    return KerasModel(Toy().build(width=2.0))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_promise_is_kept_in_the_file(wide: KerasModel, toy_view: TaskView, scheme: str) -> None:
    stage = Quantize(scheme=scheme)
    content = stage.apply(wide, toy_view, seed=0).content
    kernels = contents.matched_kernels(read(content), wide.kernels())
    assert stage.broken_promises(kernels) == []
    assert len(content) < len(wide.to_tflite().content)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_file_that_stayed_float_breaks_the_promise(wide: KerasModel, scheme: str) -> None:
    stored = contents.matched_kernels(wide.to_tflite().graph, wide.kernels())
    broken = Quantize(scheme=scheme).broken_promises(stored)
    assert f"conv2 is stored in numbers that are not those of {scheme}" in broken


def test_dynamic_leaves_small_kernels_float_and_counts_them_as_float32(
    wide: KerasModel, toy_view: TaskView
) -> None:
    content = Quantize(scheme="dynamic").apply(wide, toy_view, seed=0).content
    types = contents.weight_types(contents.stored_tensors(content))
    assert types["int8"] == 3 * 3 * 16 * 16
    assert types["float32"] > 0


@pytest.mark.parametrize("scheme", SCHEMES)
def test_scores_stay_near_those_of_the_float_file(
    toy_model: KerasModel, toy_view: TaskView, scheme: str
) -> None:
    images = toy_view.validation.images
    exact = measure.predict(toy_model.to_tflite(), images, 1 / 255)
    file = Quantize(scheme=scheme).apply(toy_model, toy_view, seed=0)
    near = measure.predict(file, images, 1 / 255)
    assert np.abs(near - exact).mean() < 0.05 * np.abs(exact).mean()
    assert (near.argmax(axis=1) == exact.argmax(axis=1)).mean() > 0.95


def test_int8_file_takes_raw_pixels_less_128(toy_model: KerasModel, toy_view: TaskView) -> None:
    content = Quantize().apply(toy_model, toy_view, seed=0).content
    interpreter = backend.litert().Interpreter(model_content=content)
    scale, zero_point = interpreter.get_input_details()[0]["quantization"]
    assert scale == pytest.approx(1 / 255, rel=1e-6)
    assert zero_point == -128


def test_the_int8_float_io_file_computes_as_the_int8_file(
    toy_model: KerasModel, toy_view: TaskView
) -> None:
    whole = Quantize().apply(toy_model, toy_view, seed=0)
    ends = Quantize(scheme="int8-float-io").apply(toy_model, toy_view, seed=0)
    names = [operator.name for operator in contents.operators(ends.content)]
    assert names == ["QUANTIZE", *(o.name for o in contents.operators(whole.content)), "DEQUANTIZE"]
    interpreter = backend.litert().Interpreter(model_content=ends.content)
    for details in (interpreter.get_input_details(), interpreter.get_output_details()):
        assert details[0]["dtype"] == np.float32
    images = toy_view.validation.images
    assert np.array_equal(
        measure.predict(ends, images, 1 / 255), measure.predict(whole, images, 1 / 255)
    )


def test_weights_are_within_half_a_step(toy_model: KerasModel, toy_view: TaskView) -> None:
    content = Quantize().apply(toy_model, toy_view, seed=0).content
    # The first kernel has a BatchNormalization folded in; the second is stored as it is, per output channel.
    codes = contents.matched_kernels(read(content), toy_model.kernels())["conv2"]
    kernel = toy_model.kernels()["conv2"]
    step = np.abs(kernel).max(axis=(0, 1, 2)) / 127
    assert np.all(np.abs(kernel - codes * step) <= step * 0.501)


def test_calibration_is_drawn_from_training_images_by_seed(
    toy_model: KerasModel, toy_view: TaskView
) -> None:
    few = Quantize(calibration=3)
    assert few.apply(toy_model, toy_view, 1).digest == few.apply(toy_model, toy_view, 1).digest
    assert few.apply(toy_model, toy_view, 1).digest != few.apply(toy_model, toy_view, 2).digest


def test_zeros_of_prune_are_verified_in_the_int8_file(
    context: RunContext, toy_model: KerasModel
) -> None:
    Pipeline((Prune(sparsity=0.5, epochs=0), Quantize())).run(toy_model, context)
    pruned, small = read_from(context.results)[1:]
    assert small.sparsity >= pruned.sparsity == 0.5
    assert small.weight_types["int8"] == sum(k.size for k in toy_model.kernels().values())
    assert small.file_bytes < pruned.file_bytes


def test_a_new_scheme_needs_only_a_row_of_the_table(
    toy_model: KerasModel, toy_view: TaskView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Help, export, promise and refusals of a scheme follow from its row of the table."""
    (scheme,) = [f for f in dataclasses.fields(Quantize) if f.name == "scheme"]
    assert scheme.metadata["kind"].choices == quantize.FORMATS
    assert {"float32", *quantize.FORMATS} == {"int4", *SCHEME_TABLE}
    row = Scheme(kernels="int8", operators="TFLITE_BUILTINS_INT8")  # float32 at both ends
    monkeypatch.setitem(SCHEME_TABLE, "made-up", row)  # type: ignore[arg-type]
    monkeypatch.setattr(scheme.metadata["kind"], "choices", (*quantize.FORMATS, "made-up"))
    stage = Quantize(scheme="made-up")
    content = stage.apply(toy_model, toy_view, seed=0).content
    kernels = contents.matched_kernels(read(content), toy_model.kernels())
    assert stage.broken_promises(kernels) == []
    assert stage.broken_promises(toy_model.kernels()) != []
    with pytest.raises(ValueError, match="export as made-up needs images to calibrate by"):
        toy_model.to_tflite("made-up")


def test_a_scheme_that_is_not_in_the_table_is_refused(toy_model: KerasModel) -> None:
    with pytest.raises(ValueError, match="no scheme 'int9' to export as; expected float32, int8"):
        toy_model.to_tflite("int9")


def test_integer_export_without_images_is_refused(toy_model: KerasModel) -> None:
    with pytest.raises(ValueError, match="export as int8 needs images to calibrate by"):
        toy_model.to_tflite("int8")
