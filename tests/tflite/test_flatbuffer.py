"""Damaged, hostile and unsupported files raise only ValueError."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.tflite import contents
from compress.tflite.flatbuffer import read
from compress.tflite.tensor import unpack
from fuzz.hostile_tflite import file_of
from support.tflite_examples import (
    edited,
    export,
    functional,
    int8,
    sparse,
    tensor_of_shape,
    three_layers_model,
)


@pytest.fixture(scope="module")
def three_layers_file() -> bytes:
    return export(three_layers_model())


@pytest.fixture(scope="module")
def three_layers_int8() -> bytes:
    images = np.random.default_rng(0).random((8, 6, 6, 2), np.float32)
    return export(three_layers_model(), int8(images))


@given(st.lists(st.integers(-2, 1), max_size=9), st.sampled_from([2, 4]))
def test_small_integers_are_unchanged_by_packing_and_unpacking(
    numbers: list[int], bits: int
) -> None:
    packed = sum((number % 2**bits) << (bits * place) for place, number in enumerate(numbers))
    data = packed.to_bytes((len(numbers) * bits + 7) // 8, "little")
    assert unpack(data, f"int{bits}", (len(numbers),)).tolist() == numbers


def test_weights_that_are_not_constants_are_refused_by_name(three_layers_file: bytes) -> None:
    def empty(model: Any) -> None:
        tensor = tensor_of_shape(model, (3, 100))
        tensor.name, tensor.buffer = b"lost", 0

    content = edited(three_layers_file, empty)
    for reader in (contents.stored_tensors, contents.kernels):
        with pytest.raises(ValueError, match="'lost' of a FULLY_CONNECTED are not stored"):
            reader(content)


def test_sparse_encoding_is_refused_in_a_sentence() -> None:
    model = functional((64,), ("Dense", {"units": 16}))
    kernel, bias = model.layers[1].get_weights()
    kernel[np.random.default_rng(0).random(kernel.shape) < 0.9] = 0
    model.layers[1].set_weights([kernel, bias])
    with pytest.raises(ValueError, match="sparse encoding"):
        contents.kernels(export(model, sparse))


def test_more_bytes_than_numbers_are_refused(three_layers_file: bytes) -> None:
    def cut(model: Any) -> None:
        buffer = model.buffers[tensor_of_shape(model, (3, 100)).buffer]
        buffer.data = buffer.data[:-4]

    with pytest.raises(ValueError, match=r"1196 bytes are stored for float32 numbers of shape"):
        contents.kernels(edited(three_layers_file, cut))


def _read_all(content: bytes) -> None:
    contents.operators(content)
    stored = contents.stored_tensors(content)
    contents.nonzero_params(stored)
    contents.kernel_sparsity(stored)
    contents.weight_types(stored)
    contents.kernels(content)


def test_a_file_cut_off_anywhere_is_refused(three_layers_file: bytes) -> None:
    for length in [*range(64), *range(64, len(three_layers_file), 37), len(three_layers_file) - 1]:
        with pytest.raises(ValueError, match="not a readable TFLite file"):
            _read_all(three_layers_file[:length])


def test_changed_bytes_give_a_value_error_or_no_error(three_layers_int8: bytes) -> None:
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
def test_impossible_indices_and_sizes_are_refused(three_layers_file: bytes, damage: Any) -> None:
    with pytest.raises(ValueError, match="not a readable TFLite file, it is damaged or cut off"):
        contents.operators(edited(three_layers_file, damage))


def test_a_text_file_is_refused() -> None:
    with pytest.raises(ValueError, match="not a readable TFLite file: it has no TFL3 mark"):
        _read_all(b"a text file that was renamed")


@pytest.mark.parametrize("shape", [[], [1, 6, 6, 0], [1, 6, 6, 3]])
def test_a_depthwise_kernel_that_does_not_fit_its_channels_is_refused(
    three_layers_file: bytes, shape: list[int]
) -> None:
    def widen(model: Any) -> None:
        graph = model.subgraphs[0]
        kernel = graph.tensors.index(tensor_of_shape(model, (1, 2, 2, 4)))
        depthwise = next(operator for operator in graph.operators if kernel in operator.inputs)
        graph.tensors[depthwise.inputs[0]].shape = shape

    with pytest.raises(ValueError, match="this is not a readable TFLite file: 4 depthwise filters"):
        contents.kernels(edited(three_layers_file, widen))


def _moved_behind(content: bytes, shape: tuple[int, ...], place: int = 0, more: int = 0) -> bytes:
    """The file with a tensor's data moved behind the flatbuffer, its offset off by `place` and its size by `more`."""
    data = b""

    def move(model: Any, start: int) -> None:
        nonlocal data
        buffer = model.buffers[tensor_of_shape(model, shape).buffer]
        data, buffer.data = np.array(buffer.data, np.uint8).tobytes(), None
        buffer.offset, buffer.size = start + place, len(data) + more

    length = len(edited(content, lambda model: move(model, 2**20)))
    return edited(content, lambda model: move(model, length)) + data


def test_data_behind_the_flatbuffer_is_read(three_layers_file: bytes) -> None:
    before, after = (
        contents.kernels(c)[-1].values
        for c in (three_layers_file, _moved_behind(three_layers_file, (3, 100)))
    )
    np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize(("place", "more"), [(1, 0), (0, 1), (2**63, 0), (0, 2**63), (-4, -1200)])
def test_data_with_a_place_outside_the_file_is_refused(
    three_layers_file: bytes, place: int, more: int
) -> None:
    content = _moved_behind(three_layers_file, (3, 100), place, more)
    with pytest.raises(ValueError, match=r"not a readable TFLite file|are not stored"):
        contents.kernels(content)


def test_overlapping_buffers_behind_the_flatbuffer_are_refused(
    three_layers_file: bytes,
) -> None:
    def pile(model: Any) -> None:
        for tensor in model.subgraphs[0].tensors:
            buffer = model.buffers[tensor.buffer]
            buffer.data, buffer.offset, buffer.size = None, 8, 4000

    with pytest.raises(ValueError, match="its parts together are longer than its"):
        contents.operators(edited(three_layers_file, pile) + bytes(5000))


def test_a_vector_shared_by_tables_is_counted_once() -> None:
    content = file_of(tensors=3, scales=5000)
    assert len(read(content).inputs[0].scales) == 5000


def test_a_file_without_overlapping_parts_is_read() -> None:
    assert [o.name for o in contents.operators(file_of())] == ["RELU"]


@pytest.mark.parametrize(
    "lists",
    [
        {"tensors": 50_000},
        {"tensors": 100, "name": b"x" * 5000},
        {"operators": 50_000},
        {"operators": 100, "inputs": 5000},
        {"codes": 50_000},
    ],
    ids=" ".join,
)
def test_parts_that_add_up_to_more_bytes_than_the_file_are_refused(
    lists: dict[str, Any],
) -> None:
    content = file_of(**lists)
    with pytest.raises(
        ValueError, match=f"its parts together are longer than its {len(content)} bytes"
    ):
        contents.operators(content)
