"""Records of `inspect` match values worked out by hand, and totals are sums."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines.cifar10.networks import plain
from compress import backend
from compress.keras_models.model import KerasModel
from compress.measurement.layer_table import layer_table
from compress.micro.encode import encoded
from compress.model_files.load import load_model
from compress.tflite.model import TFLiteModel
from support.model_files import edited
from support.tflite_examples import drawn, export, float16, functional, int8
from support.tflite_examples import edited as edited_tflite

KEYS = ["name", "type", "output_shape", "dtype", "parameters", "nonzero", "macs", "bytes"]


@pytest.fixture(scope="module")
def model() -> KerasModel:
    """Conv 3x3 of 4 filters on 6x6x2 with BatchNormalization, 54 of its 72 weights zero; dense of 3."""
    keras = functional(
        (6, 6, 2),
        ("Conv2D", {"filters": 4, "kernel_size": 3, "padding": "same", "name": "conv"}),
        ("BatchNormalization", {"name": "norm"}),
        ("Flatten", {"name": "flatten"}),
        ("Dense", {"units": 3, "name": "logits"}),
    )
    kernel, bias = keras.get_layer("conv").get_weights()
    kernel[..., :3] = 0
    keras.get_layer("conv").set_weights([kernel, bias])
    return KerasModel(keras)


def values(row: dict[str, Any]) -> list[Any]:
    return [row[key] for key in KEYS]


def test_records_of_keras_layers_match_values_worked_out_by_hand(model: KerasModel) -> None:
    rows = layer_table(model)
    assert all(list(row) == KEYS for row in rows)
    assert [values(row) for row in rows[1:]] == [
        ["conv", "Conv2D", [6, 6, 4], "float32", 76, 22, 6 * 6 * 4 * 18, 4 * 76],
        ["norm", "BatchNormalization", [6, 6, 4], "float32", 16, 16, 0, 64],
        ["flatten", "Flatten", [144], "float32", 0, 0, 0, 0],
        ["logits", "Dense", [3], "float32", 435, 435, 432, 4 * 435],
        ["total", "keras", [3], "", 527, 473, 2592 + 432, 4 * 527],
    ]
    assert rows[-1]["parameters"] == model.params


def test_records_of_tflite_operators_match_values_worked_out_by_hand(model: KerasModel) -> None:
    content = export(model.keras)
    *rows, structure, total = layer_table(TFLiteModel(content))
    assert all(list(row) == KEYS for row in (*rows, structure, total))
    # The reshape holds the two numbers of its new shape, four bytes each, which are not parameters.
    assert [values(row)[1:] for row in rows] == [
        ["CONV_2D", [6, 6, 4], "float32", 76, 22, 2592, 4 * 76],
        ["RESHAPE", [144], "float32", 0, 0, 0, 8],
        ["FULLY_CONNECTED", [3], "float32", 435, 435, 432, 4 * 435],
    ]
    assert structure["bytes"] == len(content) - 4 * 76 - 8 - 4 * 435
    assert values(total) == ["total", "tflite", [3], "", 511, 457, 3024, len(content)]


def test_float16_weights_are_listed_with_the_operator_that_uses_them_at_2_bytes_each(
    model: KerasModel,
) -> None:
    rows = layer_table(TFLiteModel(export(model.keras, float16)))
    shown = {row["type"]: row for row in rows}
    assert "DEQUANTIZE" not in shown
    assert (shown["CONV_2D"]["dtype"], shown["CONV_2D"]["bytes"]) == ("float16", 2 * 76)
    assert shown["FULLY_CONNECTED"]["bytes"] == 2 * 435


def test_encoded_weights_count_with_the_bytes_that_the_file_stores() -> None:
    keras = functional((64,), ("Dense", {"units": 64}))
    keras.layers[-1].set_weights([np.eye(64), np.zeros(64)])
    content, _ = encoded(export(keras, int8(np.eye(64, dtype=np.float32))), ("bitmap",))
    dense, structure, total = layer_table(TFLiteModel(content))[-3:]
    # One bit per weight, a header of 16 bytes, and the 64 weights that are not zero; the file omits zero biases.
    assert dense["bytes"] == 64 * 64 // 8 + 16 + 64
    assert structure["bytes"] == len(content) - dense["bytes"] > 0
    assert total["bytes"] == len(content)


def test_the_baseline_costs_18_49_million_multiply_accumulates_in_both_formats() -> None:
    # Height * width * filters out * 3 * 3 * filters in, for each convolution; in * out for the dense layers.
    by_hand = (
        32 * 32 * 24 * (9 * 3)
        + 32 * 32 * 24 * (9 * 24)
        + 16 * 16 * 48 * (9 * 24)
        + 16 * 16 * 48 * (9 * 48)
        + 8 * 8 * 68 * (9 * 48)
        + 8 * 8 * 68 * (9 * 68)
        + 68 * 120
        + 120 * 10
    )
    assert f"{by_hand / 1e6:.2f}" == "18.49"
    baseline = KerasModel(drawn(plain.build()))
    keras, tflite = layer_table(baseline)[-1], layer_table(baseline.to_tflite())[-1]
    assert keras["macs"] == tflite["macs"] == by_hand
    assert (keras["parameters"], tflite["parameters"]) == (118_258, 117_698)


@pytest.mark.parametrize(
    "layer",
    [
        ("Conv2D", {"filters": 4, "kernel_size": 3, "groups": 2}),
        ("Conv2D", {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same"}),
        ("Conv2DTranspose", {"filters": 4, "kernel_size": 3, "strides": 2}),
        ("DepthwiseConv2D", {"kernel_size": 3, "depth_multiplier": 3}),
        ("SeparableConv1D", {"filters": 5, "kernel_size": 3, "strides": 2}),
        ("SeparableConv2D", {"filters": 5, "kernel_size": 3}),
        ("Dense", {"units": 5}),
    ],
)
def test_a_keras_layer_and_its_exported_operators_have_equal_macs(layer: Any) -> None:
    keras = functional((6, 2) if "1D" in layer[0] else (6, 6, 2), layer)
    there = layer_table(TFLiteModel(export(keras)))[-1]["macs"]
    assert layer_table(KerasModel(keras))[-1]["macs"] == there > 0


def test_a_shared_layer_counts_its_weights_once_and_macs_of_every_call() -> None:
    layers = backend.keras().layers
    shared = layers.Conv2D(2, 3, padding="same", name="shared")
    image = layers.Input((6, 6, 2))
    keras = drawn(backend.keras().Model(image, shared(layers.ReLU()(shared(image)))))
    assert shared(layers.Input((6, 6, 2))) is not None  # a call outside the model costs it nothing
    (row,) = [r for r in layer_table(KerasModel(keras)) if r["name"] == "shared"]
    assert (row["parameters"], row["macs"]) == (36 + 2, 2 * 6 * 6 * 2 * 18)


def test_a_nested_model_is_listed_layer_by_layer() -> None:
    keras = backend.keras()
    inner = keras.Sequential(
        [keras.layers.Input((6, 6, 2)), keras.layers.Conv2D(2, 3, name="conv")], name="inner"
    )
    outer = keras.Sequential([keras.layers.Input((6, 6, 2)), inner, keras.layers.Flatten()])
    rows = layer_table(KerasModel(outer))
    assert [r["name"] for r in rows if r["macs"]] == ["inner/conv", "total"]
    assert rows[-1]["macs"] == 4 * 4 * 2 * 18


def test_a_model_with_an_open_image_size_has_no_macs() -> None:
    keras = functional((None, None, 2), ("Conv2D", {"filters": 4, "kernel_size": 3}))
    *_, conv, total = layer_table(KerasModel(keras))
    assert conv["macs"] is None
    assert total["macs"] is None
    assert conv["output_shape"] == [None, None, 4]
    assert total["parameters"] == 76


def test_a_model_with_open_image_size_and_channels_is_listed(tmp_path: Path) -> None:
    saved = tmp_path / "model.keras"
    functional((6, 6, 2), ("Conv2D", {"filters": 4, "kernel_size": 3})).save(saved)

    def open_up(config: Any) -> None:
        config["config"]["layers"][0]["config"]["batch_shape"] = [None] * 4

    image, conv, total = layer_table(load_model(edited(saved, open_up)))
    assert image["output_shape"] == [None] * 3
    assert conv["parameters"] == 3 * 3 * 2 * 4 + 4
    assert total["macs"] is None


def test_a_layer_with_several_outputs_is_listed_with_the_first_shape() -> None:
    keras = backend.keras()
    image = keras.layers.Input((6, 2))
    scores, state, _ = keras.layers.LSTM(3, return_sequences=True, return_state=True)(image)
    *_, lstm, total = layer_table(KerasModel(keras.Model(image, [scores, state])))
    assert lstm["output_shape"] == total["output_shape"] == [6, 3]


def test_a_file_and_an_operator_without_outputs_are_listed(
    model: KerasModel,
) -> None:
    def take_outputs(file: Any) -> None:
        file.subgraphs[0].operators[-1].outputs = []
        file.subgraphs[0].outputs = []
        kind = file.operatorCodes[file.subgraphs[0].operators[-1].opcodeIndex]
        kind.builtinCode = backend.tflite_schema().BuiltinOperator.ASSIGN_VARIABLE

    content = edited_tflite(export(model.keras), take_outputs)
    *_, last, _, total = layer_table(TFLiteModel(content))
    assert (last["name"], last["type"]) == ("assign_variable 3", "ASSIGN_VARIABLE")
    assert last["output_shape"] == total["output_shape"] == []
    assert (last["dtype"], total["bytes"]) == ("", len(content))


def test_a_file_gives_the_same_records_as_its_model(model: KerasModel, tmp_path: Path) -> None:
    exported = TFLiteModel(export(model.keras))
    for name, held in (("model.keras", model), ("model.tflite", exported)):
        held.save(tmp_path / name)
        assert layer_table(load_model(tmp_path / name)) == layer_table(held)


def test_inspecting_changes_no_weight(model: KerasModel) -> None:
    before = [np.array(w) for w in model.keras.get_weights()]
    layer_table(model)
    for old, new in zip(before, model.keras.get_weights(), strict=True):
        assert (old == new).all()
