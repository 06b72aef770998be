"""Operators, weights and kernels of exported files: counted by hand, and unharmed by hostile bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tflite_examples import (
    drawn,
    edited,
    export,
    float16,
    functional,
    int8,
    sparse,
    tensor_of_shape,
)

from baselines import cnn
from compress import backend, tflite_file
from compress.kernel_matching import StoredKernel, match
from compress.model import KerasModel
from compress.tflite_tensor import unpack

CONV = ("Conv2D", {"filters": 4, "kernel_size": 3, "padding": "same"})
NORM = ("BatchNormalization", {})
POOL = ("GlobalAveragePooling2D", {})


@pytest.fixture(scope="module")
def three_layers() -> Any:
    """Conv 3x3 of 4 filters on 6x6x2, depthwise 2x2 without border, dense of 3."""
    return functional(
        (6, 6, 2),
        CONV,
        ("DepthwiseConv2D", {"kernel_size": 2}),
        ("Flatten", {}),
        ("Dense", {"units": 3}),
    )


@pytest.fixture(scope="module")
def three_layers_file(three_layers: Any) -> bytes:
    return export(three_layers)


@pytest.fixture(scope="module")
def three_layers_int8(three_layers: Any) -> bytes:
    return export(three_layers, int8(np.random.default_rng(0).random((8, 6, 6, 2), np.float32)))


def test_operators_come_in_order_with_shapes_and_macs_worked_out_by_hand(
    three_layers_file: bytes,
) -> None:
    found = tflite_file.operators(three_layers_file)
    costly = [(o.name, o.outputs[0].shape, o.outputs[0].dtype, o.macs) for o in found if o.macs]
    assert costly == [
        ("CONV_2D", (1, 6, 6, 4), "float32", 6 * 6 * 4 * (3 * 3 * 2)),
        ("DEPTHWISE_CONV_2D", (1, 5, 5, 4), "float32", 5 * 5 * 4 * (2 * 2)),
        ("FULLY_CONNECTED", (1, 3), "float32", 3 * 100),
    ]


def test_parameters_of_three_layers_are_worked_out_by_hand(three_layers_file: bytes) -> None:
    stored = tflite_file.stored_tensors(three_layers_file)
    assert [(s.role, s.tensor.shape) for s in stored] == [
        ("kernel", (4, 3, 3, 2)),
        ("bias", (4,)),
        ("kernel", (1, 2, 2, 4)),
        ("bias", (4,)),
        ("kernel", (3, 100)),
        ("bias", (3,)),
    ]
    assert tflite_file.stored_params(stored) == (72 + 4) + (16 + 4) + (300 + 3)
    assert tflite_file.nonzero_params(stored) == 399
    assert tflite_file.weight_types(stored) == {"float32": 399}


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
def test_macs_of_other_layers_are_worked_out_by_hand(layer: Any, macs: int) -> None:
    found = tflite_file.operators(export(functional((6, 6, 2), layer)))
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
def test_float_kernels_come_back_bit_for_bit_in_keras_axis_order(layer: Any) -> None:
    model = KerasModel(functional((6, 6, 2), layer))
    matched = tflite_file.matched_kernels(export(model.keras), model.kernels())
    assert matched.keys() == model.kernels().keys()
    for name, kernel in model.kernels().items():
        np.testing.assert_array_equal(matched[name], kernel)


def test_a_conv1d_kernel_comes_back_without_the_extra_axis() -> None:
    model = KerasModel(functional((8, 3), ("Conv1D", {"filters": 4, "kernel_size": 3})))
    (name, kernel) = next(iter(model.kernels().items()))
    content = export(model.keras)
    assert [k.values.shape for k in tflite_file.kernels(content)] == [(1, 3, 3, 4)]
    np.testing.assert_array_equal(
        tflite_file.matched_kernels(content, {name: kernel})[name], kernel
    )


def test_float16_kernels_are_read_behind_their_dequantize(three_layers: Any) -> None:
    content = export(three_layers, float16)
    stored = tflite_file.stored_tensors(content)
    assert tflite_file.weight_types(stored) == {"float16": 399}
    kernels = KerasModel(three_layers).kernels()
    for name, found in tflite_file.matched_kernels(content, kernels).items():
        np.testing.assert_array_equal(found, kernels[name].astype(np.float16))


def test_int8_kernels_are_within_half_a_step_of_the_keras_kernels(
    three_layers: Any, three_layers_int8: bytes
) -> None:
    stored = tflite_file.stored_tensors(three_layers_int8)
    assert tflite_file.weight_types(stored) == {"int8": 72 + 16 + 300, "int32": 4 + 4 + 3}
    kernels = KerasModel(three_layers).kernels()
    matched = tflite_file.matched_kernels(three_layers_int8, kernels)
    scales = [s.tensor.scales for s in stored if s.role == "kernel"]
    for (name, kernel), scale in zip(kernels.items(), scales, strict=True):
        steps = np.array(scale).reshape(4, 1) if "depthwise" in name else np.array(scale)
        assert matched[name].shape == kernel.shape
        assert (np.abs(matched[name] * steps - kernel) <= steps * 0.501).all()


@pytest.mark.parametrize("channels", [1, 4])
def test_the_zero_point_is_taken_off_so_that_a_zero_weight_is_0(
    three_layers_int8: bytes, channels: int
) -> None:
    before = tflite_file.kernels(three_layers_int8)[0].values

    def shift(model: Any) -> None:
        tensor = tensor_of_shape(model, (4, 3, 3, 2))
        buffer = model.buffers[tensor.buffer]
        buffer.data = (np.array(buffer.data, np.uint8).view(np.int8).astype(int) + 128).astype(
            np.uint8
        )
        tensor.type = backend.tflite_schema().TensorType.UINT8
        tensor.quantization.zeroPoint = [128] * channels
        tensor.quantization.scale = tensor.quantization.scale[:channels]

    shifted = tflite_file.kernels(edited(three_layers_int8, shift))[0]
    assert shifted.dtype == "uint8"
    np.testing.assert_array_equal(shifted.values, before)


@given(st.lists(st.integers(-2, 1), max_size=9), st.sampled_from([2, 4]))
def test_small_integers_unpack_to_what_was_packed(numbers: list[int], bits: int) -> None:
    packed = sum((number % 2**bits) << (bits * place) for place, number in enumerate(numbers))
    data = packed.to_bytes((len(numbers) * bits + 7) // 8, "little")
    assert unpack(data, f"int{bits}", (len(numbers),)).tolist() == numbers


def test_an_int4_kernel_is_read_from_half_as_many_bytes(three_layers_int8: bytes) -> None:
    codes = np.random.default_rng(0).integers(-8, 8, (3, 100))

    def pack(model: Any) -> None:
        tensor = tensor_of_shape(model, (3, 100))
        pairs = codes.reshape(-1, 2) & 15
        model.buffers[tensor.buffer].data = (pairs[:, 0] | pairs[:, 1] << 4).astype(np.uint8)
        tensor.type = backend.tflite_schema().TensorType.INT4

    content = edited(three_layers_int8, pack)
    np.testing.assert_array_equal(tflite_file.kernels(content)[-1].values, codes.T)
    stored = tflite_file.stored_tensors(content)
    assert tflite_file.weight_types(stored) == {"int8": 88, "int32": 11, "int4": 300}
    assert tflite_file.stored_params(stored) == 399


def test_the_baseline_stores_its_kernels_and_biases_with_batch_normalization_folded_in() -> None:
    kernels = 27 * 24 + 216 * 24 + 216 * 48 + 432 * 48 + 432 * 68 + 612 * 68 + 68 * 120 + 120 * 10
    biases = 24 + 24 + 48 + 48 + 68 + 68 + 120 + 10
    assert (kernels, biases) == (117_288, 410)
    stored = tflite_file.stored_tensors(KerasModel(drawn(cnn.build())).to_tflite().content)
    assert sum(s.tensor.values().size for s in stored if s.role == "kernel") == kernels
    assert tflite_file.stored_params(stored) == kernels + biases
    assert {s.role for s in stored} == {"kernel", "bias"}


def test_what_is_left_of_a_batch_normalization_that_cannot_fold_is_counted() -> None:
    content = export(functional((6, 6, 2), CONV, ("ReLU", {}), NORM, POOL))
    stored = tflite_file.stored_tensors(content)
    assert sum(s.tensor.values().size for s in stored if s.role == "per channel") == 4 + 4
    assert tflite_file.stored_params(stored) == 72 + 4 + 8


def test_sparsity_is_the_fraction_of_zero_weights_biases_apart() -> None:
    model = functional((6, 6, 2), CONV, ("Flatten", {}), ("Dense", {"units": 3}))
    conv, dense = model.layers[1], model.layers[3]
    kernel, bias = conv.get_weights()
    kernel[..., :3] = 0  # 54 of 72
    conv.set_weights([kernel, bias])
    stored = tflite_file.stored_tensors(export(model))
    assert tflite_file.sparsity(stored) == 54 / (72 + 144 * 3)
    assert sorted(tflite_file.kernel_sparsity(stored).values()) == [0.0, 0.75]
    assert tflite_file.nonzero_params(stored) == 72 - 54 + 4 + 432 + 3
    assert dense.kernel.shape == (144, 3)


def test_two_kernels_of_one_name_have_two_sparsities(three_layers_file: bytes) -> None:
    def rename(model: Any) -> None:
        for tensor in model.subgraphs[0].tensors:
            tensor.name = b"same"

    stored = tflite_file.stored_tensors(edited(three_layers_file, rename))
    assert list(tflite_file.kernel_sparsity(stored)) == ["same", "same (2)", "same (3)"]


def test_a_shared_kernel_is_stored_once_and_multiplied_twice() -> None:
    layers = backend.keras().layers
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    image = layers.Input((6, 6, 4))
    model = drawn(backend.keras().Model(image, shared(layers.ReLU()(shared(image)))))
    content = export(model)
    assert tflite_file.stored_params(tflite_file.stored_tensors(content)) == 144 + 4
    assert sum(o.macs for o in tflite_file.operators(content)) == 2 * 6 * 6 * 4 * 36
    kernel = KerasModel(model).kernels()
    np.testing.assert_array_equal(
        tflite_file.matched_kernels(content, kernel)["shared"], kernel["shared"]
    )


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
def test_kernels_of_one_shape_find_their_layers_in_a_branching_graph(
    quantized: bool, backwards: bool
) -> None:
    layers = backend.keras().layers
    image = layers.Input((6, 6, 4))

    def branch(name: str, x: Any) -> Any:
        x = layers.Conv2D(4, 3, padding="same", name=name, use_bias=False)(x)
        return layers.BatchNormalization(name=f"norm_{name}")(x)

    left, right = branch("left", image), layers.ReLU()(branch("right", image))
    model = drawn(backend.keras().Model(image, branch("join", layers.Add()([right, left]))))
    images = np.random.default_rng(0).random((8, 6, 6, 4), np.float32)
    content = export(model, int8(images) if quantized else lambda converter: None)
    kernels = KerasModel(model).kernels()
    asked = dict(reversed(kernels.items())) if backwards else kernels
    matched = tflite_file.matched_kernels(content, asked)
    scales = {s.tensor.name: s.tensor.scales or (1.0,) for s in tflite_file.stored_tensors(content)}
    assert list(matched) == list(asked)
    for name, found in matched.items():
        gamma, _, _, variance = model.get_layer(f"norm_{name}").get_weights()
        factor = gamma / np.sqrt(variance + 1e-3)  # of either sign
        assert (factor < 0).any() or name != "left"
        (step,) = [
            np.array(scales[k.name])
            for k in tflite_file.kernels(content)
            if np.array_equal(k.values, found)
        ]
        tolerance = step * 0.501 if quantized else 1e-5
        assert (np.abs(found * step - kernels[name] * factor) <= tolerance).all()


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.booleans())
def test_matching_undoes_any_order_and_any_factor_per_channel(
    seed: int, layers: int, rounded: bool
) -> None:
    rng = np.random.default_rng(seed)
    keras_kernels = {f"layer{i}": rng.normal(size=(3, 3, 4, 8)) for i in range(layers)}
    order = rng.permutation(layers)
    stored = []
    for i in order:
        values = keras_kernels[f"layer{i}"] * rng.uniform(0.1, 10, 8) * rng.choice([-1, 1], 8)
        if rounded:
            values = np.rint(values / np.abs(values).max(axis=(0, 1, 2)) * 7)  # as int4 would
        stored.append(StoredKernel(f"t{i}", "CONV_2D", "float32", values, (3,)))
    found = match(stored, keras_kernels)
    for i in range(layers):
        place = int(np.flatnonzero(order == i)[0])
        assert np.array_equal(found[f"layer{i}"], stored[place].values)


def test_channels_that_a_factor_of_0_wiped_out_do_not_hide_the_partner() -> None:
    rng = np.random.default_rng(0)
    kernels = {name: rng.normal(size=(3, 3, 4, 8)) for name in ("first", "second")}
    wiped = [StoredKernel(n, "CONV_2D", "float32", k.copy(), (3,)) for n, k in kernels.items()]
    for kernel in wiped:
        kernel.values[..., 1:] = 0  # seven of eight channels say nothing
    found = match(wiped[::-1], kernels)
    assert np.array_equal(found["first"], wiped[0].values)
    assert np.array_equal(found["second"], wiped[1].values)


def test_equal_kernels_are_matched_in_order_and_zero_channels_do_not_mislead() -> None:
    zero, half = np.zeros((2, 2, 1, 4)), np.zeros((2, 2, 1, 4))
    half[..., :2] = np.random.default_rng(0).normal(size=(2, 2, 1, 2))
    dead = half * [1, 0, 1, 1]  # a factor of 0 leaves a channel of zeros
    stored = [StoredKernel(n, "CONV_2D", "float32", v, (3,)) for n, v in [("d", dead), ("z", zero)]]
    found = match(stored, {"pruned": zero, "alive": half})
    assert np.array_equal(found["alive"], dead)
    assert np.array_equal(found["pruned"], zero)
    one = [StoredKernel(n, "CONV_2D", "float32", half, (3,)) for n in "ab"]
    assert match(one, {"first": half, "second": half}).keys() == {"first", "second"}


def test_a_layer_without_a_kernel_in_the_file_is_named(
    three_layers: Any, three_layers_file: bytes
) -> None:
    kernels = KerasModel(three_layers).kernels()
    more = kernels | {"extra": np.ones((3, 3, 2, 4), np.float32)}
    with pytest.raises(ValueError, match="no kernel for layer 'extra' of shape"):
        tflite_file.matched_kernels(three_layers_file, more)
    other = {k: np.random.default_rng(9).normal(size=v.shape) for k, v in kernels.items()}
    with pytest.raises(ValueError, match="was it exported from this model"):
        tflite_file.matched_kernels(three_layers_file, other)


def test_weights_that_are_not_constants_are_refused_by_name(three_layers_file: bytes) -> None:
    def empty(model: Any) -> None:
        tensor = tensor_of_shape(model, (3, 100))
        tensor.name, tensor.buffer = b"lost", 0

    content = edited(three_layers_file, empty)
    for read in (tflite_file.stored_tensors, tflite_file.kernels):
        with pytest.raises(ValueError, match="'lost' of a FULLY_CONNECTED are not stored"):
            read(content)


def test_sparse_encoding_is_refused_in_a_sentence() -> None:
    model = functional((64,), ("Dense", {"units": 16}))
    kernel, bias = model.layers[1].get_weights()
    kernel[np.random.default_rng(0).random(kernel.shape) < 0.9] = 0
    model.layers[1].set_weights([kernel, bias])
    with pytest.raises(ValueError, match="sparse encoding"):
        tflite_file.kernels(export(model, sparse))


def test_more_bytes_than_numbers_are_refused(three_layers_file: bytes) -> None:
    def cut(model: Any) -> None:
        buffer = model.buffers[tensor_of_shape(model, (3, 100)).buffer]
        buffer.data = buffer.data[:-4]

    with pytest.raises(ValueError, match=r"1196 bytes are stored for float32 numbers of shape"):
        tflite_file.kernels(edited(three_layers_file, cut))


def _read_all(content: bytes) -> None:
    tflite_file.operators(content)
    stored = tflite_file.stored_tensors(content)
    tflite_file.nonzero_params(stored)
    tflite_file.kernel_sparsity(stored)
    tflite_file.weight_types(stored)
    tflite_file.kernels(content)


def test_a_file_cut_anywhere_is_not_readable(three_layers_file: bytes) -> None:
    for length in [*range(64), *range(64, len(three_layers_file), 37), len(three_layers_file) - 1]:
        with pytest.raises(ValueError, match="not a readable TFLite file"):
            _read_all(three_layers_file[:length])


def test_flipped_bytes_end_in_a_value_error_or_in_nothing(three_layers_int8: bytes) -> None:
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(1000):
        content = bytearray(three_layers_int8)
        for place in rng.integers(8, len(content), size=rng.integers(1, 6)):
            content[place] = rng.integers(256)
        try:
            _read_all(bytes(content))
        except ValueError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    "damage",
    [
        lambda model: setattr(model.subgraphs[0].tensors[0], "buffer", len(model.buffers)),
        lambda model: setattr(model.subgraphs[0].tensors[0], "shape", [1, -6, 6, 2]),
        lambda model: setattr(model.subgraphs[0].tensors[0], "shape", [1] * 9),
        lambda model: setattr(model.subgraphs[0].tensors[0], "type", 99),
        lambda model: setattr(model.subgraphs[0].operators[0], "inputs", [10_000]),
        lambda model: setattr(model.subgraphs[0].operators[0], "inputs", [0, -1, 1]),
        lambda model: setattr(model.subgraphs[0].operators[0], "outputs", [-1]),
        lambda model: setattr(model.subgraphs[0].operators[0], "outputs", []),
        lambda model: setattr(model.subgraphs[0].operators[0], "opcodeIndex", 10_000),
        lambda model: setattr(model.subgraphs[0], "outputs", [10_000]),
        lambda model: setattr(model, "subgraphs", []),
        lambda model: setattr(model, "buffers", None),
    ],
)
def test_places_and_sizes_that_cannot_be_are_refused(three_layers_file: bytes, damage: Any) -> None:
    with pytest.raises(ValueError, match="not a readable TFLite file, it is damaged or cut off"):
        tflite_file.operators(edited(three_layers_file, damage))


def test_text_is_not_readable() -> None:
    with pytest.raises(ValueError, match="not a readable TFLite file: it has no TFL3 mark"):
        _read_all(b"a text file that was renamed")
