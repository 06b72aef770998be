"""Vela's estimate for a file; files that Vela cannot compile are refused in a sentence."""

from __future__ import annotations

import numpy as np
import pytest

from compress import backend
from compress.micro import vela
from support.tflite_examples import edited, export, int8, three_layers_model

SEEN = np.random.default_rng(0).random((8, 6, 6, 2), np.float32)


def test_the_accelerator_runs_every_operator_of_an_int8_network() -> None:
    found = vela.estimate(export(three_layers_model(), int8(SEEN)), "ethos-u55-128")
    assert found.cpu_operators == {}
    assert min(found.cycles, found.sram_bytes, found.flash_bytes, found.npu_operators) > 0
    assert "MHz" in found.system


def test_float_operators_run_on_the_processor() -> None:
    found = vela.estimate(export(three_layers_model()), "ethos-u55-128")
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"} <= set(found.cpu_operators)
    assert found.npu_operators == 0


def test_4_bit_weights_are_refused_before_vela_crashes() -> None:
    def int4(model: object) -> None:
        graph = model.subgraphs[0]  # type: ignore[attr-defined]
        tensor = graph.tensors[graph.operators[0].inputs[1]]
        tensor.type = backend.tflite_schema().TensorType.INT4

    content = edited(export(three_layers_model(), int8(SEEN)), int4)
    with pytest.raises(
        ValueError, match="Vela cannot compile this TFLite file: it has int4 weights"
    ):
        vela.estimate(content, "ethos-u55-128")
