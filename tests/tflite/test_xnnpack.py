"""Which operators XNNPACK runs, as reported by LiteRT."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compress import backend
from compress.tflite.xnnpack import xnnpack_share
from support.tflite_examples import edited, export, int8, three_layers_model

SEEN = np.random.default_rng(0).random((8, 6, 6, 2), np.float32)


@pytest.fixture(scope="module")
def whole() -> bytes:
    return export(three_layers_model(), int8(SEEN))


def test_xnnpack_runs_every_operator_of_an_int8_network(whole: bytes) -> None:
    assert xnnpack_share(whole) == "all"


def test_xnnpack_does_not_run_a_convolution_whose_bias_has_no_scales(whole: bytes) -> None:
    def without_bias_scales(model: Any) -> None:
        graph = model.subgraphs[0]
        graph.tensors[graph.operators[0].inputs[2]].quantization = None

    assert xnnpack_share(edited(whole, without_bias_scales)) == "some"


def test_xnnpack_runs_no_operator_with_16_bit_activations() -> None:
    def int16(converter: Any) -> None:
        int8(SEEN)(converter)
        tf = backend.tensorflow()
        name = "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"
        converter.target_spec.supported_ops = [getattr(tf.lite.OpsSet, name)]
        converter.inference_input_type = converter.inference_output_type = tf.int16

    assert xnnpack_share(export(three_layers_model(), int16)) == "none"


def test_a_file_that_litert_refuses_is_refused_in_a_sentence(whole: bytes) -> None:
    with pytest.raises(ValueError, match="LiteRT cannot run this TFLite file"):
        xnnpack_share(whole[:2000])
