"""Operators, weights and kernels of exported files match values worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from baselines.cifar10.networks import plain
from compress import backend
from compress.keras_models.model import KerasModel
from compress.tflite import contents
from compress.tflite.flatbuffer import read
from support.tflite_examples import (
    Layer,
    drawn,
    edited,
    export,
    float16,
    functional,
    int8,
    tensor_of_shape,
    three_layers_model,
)

CONV: Layer = ("Conv2D", {"filters": 4, "kernel_size": 3, "padding": "same"})
NORM: Layer = ("BatchNormalization", {})
POOL: Layer = ("GlobalAveragePooling2D", {})


@pytest.fixture(scope="module")
def three_layers() -> Any:
    return three_layers_model()


@pytest.fixture(scope="module")
def three_layers_file(three_layers: Any) -> bytes:
    return export(three_layers)


@pytest.fixture(scope="module")
def three_layers_int8(three_layers: Any) -> bytes:
    return export(three_layers, int8(np.random.default_rng(0).random((8, 6, 6, 2), np.float32)))


def test_operators_have_the_order_shapes_and_macs_worked_out_by_hand(
    three_layers_file: bytes,
) -> None:
    found = contents.operators(three_layers_file)
    costly = [(o.name, o.outputs[0].shape, o.outputs[0].dtype, o.macs) for o in found if o.macs]
    assert costly == [
        ("CONV_2D", (1, 6, 6, 4), "float32", 6 * 6 * 4 * (3 * 3 * 2)),
        ("DEPTHWISE_CONV_2D", (1, 5, 5, 4), "float32", 5 * 5 * 4 * (2 * 2)),
        ("FULLY_CONNECTED", (1, 3), "float32", 3 * 100),
    ]


def test_parameters_of_three_layers_match_values_worked_out_by_hand(
    three_layers_file: bytes,
) -> None:
    stored = contents.stored_tensors(three_layers_file)
    assert [(s.role, s.tensor.shape) for s in stored] == [
        ("kernel", (4, 3, 3, 2)),
        ("bias", (4,)),
        ("kernel", (1, 2, 2, 4)),
        ("bias", (4,)),
        ("kernel", (3, 100)),
        ("bias", (3,)),
    ]
    assert contents.stored_params(stored) == (72 + 4) + (16 + 4) + (300 + 3)
    assert contents.nonzero_params(stored) == 399
    assert contents.weight_types(stored) == {"float32": 399}


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        # Grouped: each of 6x6x4 outputs sees 3x3 of one input channel.
        (("Conv2D", {"filters": 4, "kernel_size": 3, "groups": 2}), 4 * 4 * 4 * 9 * 1),
        # Strided: 3x3 outputs are left of 6x6.
        (("Conv2D", {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same"}), 9 * 4 * 18),
        # Transposed: each of 6x6x2 inputs meets 3x3x4 weights.
        (("Conv2DTranspose", {"filters": 4, "kernel_size": 3, "strides": 2}), 6 * 6 * 2 * 9 * 4),
        # Depth multiplier 3: 4x4x6 outputs of 3x3.
        (("DepthwiseConv2D", {"kernel_size": 3, "depth_multiplier": 3}), 4 * 4 * 6 * 9),
        # Depthwise 3x3 on two channels, then 1x1 from 2 to 5 channels.
        (("SeparableConv2D", {"filters": 5, "kernel_size": 3}), 4 * 4 * 2 * 9 + 4 * 4 * 5 * 2),
        # A dense layer at each of 6x6 places.
        (("Dense", {"units": 5}), 6 * 6 * 5 * 2),
    ],
)
def test_macs_of_other_layers_match_values_worked_out_by_hand(layer: Any, macs: int) -> None:
    found = contents.operators(export(functional((6, 6, 2), layer)))
    assert sum(o.macs for o in found) == macs


@pytest.mark.parametrize(
    "layer",
    [
        ("Conv2D", {"filters": 5, "kernel_size": (3, 2)}),
        ("Conv2D", {"filters": 4, "kernel_size": 3, "groups": 2}),
        ("Conv2D", {"filters": 4, "kernel_size": 3, "dilation_rate": 2, "use_bias": False}),
        ("Conv2DTranspose", {"filters": 4, "kernel_size": (3, 2)}),
        ("DepthwiseConv2D", {"kernel_size": (3, 2), "depth_multiplier": 3}),
        ("SeparableConv2D", {"filters": 5, "kernel_size": 3, "depth_multiplier": 2}),
        ("Dense", {"units": 5}),
    ],
)
def test_float_kernels_are_read_bit_for_bit_in_keras_axis_order(layer: Any) -> None:
    model = KerasModel(functional((6, 6, 2), layer))
    matched = contents.matched_kernels(read(export(model.keras)), model.kernels())
    assert matched.keys() == model.kernels().keys()
    for name, kernel in model.kernels().items():
        np.testing.assert_array_equal(matched[name], kernel)


def test_a_conv1d_kernel_is_read_without_the_extra_axis() -> None:
    model = KerasModel(functional((8, 3), ("Conv1D", {"filters": 4, "kernel_size": 3})))
    (name, kernel) = next(iter(model.kernels().items()))
    content = export(model.keras)
    assert [k.values.shape for k in contents.kernels(content)] == [(1, 3, 3, 4)]
    np.testing.assert_array_equal(
        contents.matched_kernels(read(content), {name: kernel})[name], kernel
    )


def test_float16_kernels_are_read_through_their_dequantize(three_layers: Any) -> None:
    content = export(three_layers, float16)
    stored = contents.stored_tensors(content)
    assert contents.weight_types(stored) == {"float16": 399}
    kernels = KerasModel(three_layers).kernels()
    for name, found in contents.matched_kernels(read(content), kernels).items():
        np.testing.assert_array_equal(found, kernels[name].astype(np.float16))


def test_int8_kernels_are_within_half_a_step_of_the_keras_kernels(
    three_layers: Any, three_layers_int8: bytes
) -> None:
    stored = contents.stored_tensors(three_layers_int8)
    assert contents.weight_types(stored) == {"int8": 72 + 16 + 300, "int32": 4 + 4 + 3}
    kernels = KerasModel(three_layers).kernels()
    matched = contents.matched_kernels(read(three_layers_int8), kernels)
    scales = [s.tensor.scales for s in stored if s.role == "kernel"]
    for (name, kernel), scale in zip(kernels.items(), scales, strict=True):
        steps = np.array(scale).reshape(4, 1) if "depthwise" in name else np.array(scale)
        assert matched[name].shape == kernel.shape
        assert (np.abs(matched[name] * steps - kernel) <= steps * 0.501).all()


@pytest.mark.parametrize("channels", [1, 4])
def test_the_zero_point_is_subtracted_so_that_a_zero_weight_is_0(
    three_layers_int8: bytes, channels: int
) -> None:
    before = contents.kernels(three_layers_int8)[0].values

    def shift(model: Any) -> None:
        tensor = tensor_of_shape(model, (4, 3, 3, 2))
        buffer = model.buffers[tensor.buffer]
        buffer.data = (np.array(buffer.data, np.uint8).view(np.int8).astype(int) + 128).astype(
            np.uint8
        )
        tensor.type = backend.tflite_schema().TensorType.UINT8
        tensor.quantization.zeroPoint = [128] * channels
        tensor.quantization.scale = tensor.quantization.scale[:channels]

    shifted = contents.kernels(edited(three_layers_int8, shift))[0]
    assert shifted.dtype == "uint8"
    np.testing.assert_array_equal(shifted.values, before)


def test_an_int4_kernel_is_read_from_half_as_many_bytes(three_layers_int8: bytes) -> None:
    codes = np.random.default_rng(0).integers(-8, 8, (3, 100))

    def pack(model: Any) -> None:
        tensor = tensor_of_shape(model, (3, 100))
        pairs = codes.reshape(-1, 2) & 15
        model.buffers[tensor.buffer].data = (pairs[:, 0] | pairs[:, 1] << 4).astype(np.uint8)
        tensor.type = backend.tflite_schema().TensorType.INT4

    content = edited(three_layers_int8, pack)
    np.testing.assert_array_equal(contents.kernels(content)[-1].values, codes.T)
    stored = contents.stored_tensors(content)
    assert contents.weight_types(stored) == {"int8": 88, "int32": 11, "int4": 300}
    assert contents.stored_params(stored) == 399


def test_the_baseline_stores_its_kernels_and_biases_with_batch_normalization_folded_in() -> None:
    kernels = 27 * 24 + 216 * 24 + 216 * 48 + 432 * 48 + 432 * 68 + 612 * 68 + 68 * 120 + 120 * 10
    biases = 24 + 24 + 48 + 48 + 68 + 68 + 120 + 10
    assert (kernels, biases) == (117_288, 410)
    stored = contents.stored_tensors(KerasModel(drawn(plain.build())).to_tflite().content)
    assert sum(s.tensor.values().size for s in stored if s.role == "kernel") == kernels
    assert contents.stored_params(stored) == kernels + biases
    assert {s.role for s in stored} == {"kernel", "bias"}


def test_scale_and_shift_of_an_unfolded_batch_normalization_are_counted() -> None:
    content = export(functional((6, 6, 2), CONV, ("ReLU", {}), NORM, POOL))
    stored = contents.stored_tensors(content)
    assert sum(s.tensor.values().size for s in stored if s.role == "per channel") == 4 + 4
    assert contents.stored_params(stored) == 72 + 4 + 8


def test_sparsity_is_the_fraction_of_zero_weights_without_biases() -> None:
    model = functional((6, 6, 2), CONV, ("Flatten", {}), ("Dense", {"units": 3}))
    conv, dense = model.layers[1], model.layers[3]
    kernel, bias = conv.get_weights()
    kernel[..., :3] = 0  # 54 of 72
    conv.set_weights([kernel, bias])
    stored = contents.stored_tensors(export(model))
    assert contents.sparsity(stored) == 54 / (72 + 144 * 3)
    assert sorted(contents.kernel_sparsity(stored).values()) == [0.0, 0.75]
    assert contents.nonzero_params(stored) == 72 - 54 + 4 + 432 + 3
    assert dense.kernel.shape == (144, 3)


def test_kernels_with_the_same_name_have_separate_sparsities(three_layers_file: bytes) -> None:
    def rename(model: Any) -> None:
        for tensor in model.subgraphs[0].tensors:
            tensor.name = b"same"

    stored = contents.stored_tensors(edited(three_layers_file, rename))
    assert list(contents.kernel_sparsity(stored)) == ["same", "same (2)", "same (3)"]


def test_a_shared_kernel_is_stored_once_and_multiplied_twice() -> None:
    layers = backend.keras().layers
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    image = layers.Input((6, 6, 4))
    model = drawn(backend.keras().Model(image, shared(layers.ReLU()(shared(image)))))
    content = export(model)
    assert contents.stored_params(contents.stored_tensors(content)) == 144 + 4
    assert sum(o.macs for o in contents.operators(content)) == 2 * 6 * 6 * 4 * 36
    kernel = KerasModel(model).kernels()
    np.testing.assert_array_equal(
        contents.matched_kernels(read(content), kernel)["shared"], kernel["shared"]
    )
