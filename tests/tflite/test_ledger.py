"""The size ledger adds up to the file, byte for byte, and its bounds match values worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
import zstandard

from compress import backend
from compress.tflite import contents, ledger
from compress.tflite.layout import parts
from compress.tflite.model import TFLiteModel
from compress.tflite.slim import slim
from fuzz.hostile_tflite import ATTACKS, file_of
from fuzz.mutations import worse_bytes
from support.tflite_examples import (
    edited,
    export,
    float16,
    functional,
    int8,
    tensor_of_shape,
    three_layers_model,
)


def quiet(converter: Any) -> None:
    """Choose nothing: float32."""


SEEN = np.random.default_rng(0).random((8, 6, 6, 2), np.float32)
CHOICES: dict[str, Callable[[Any], None]] = {
    "float32": quiet,
    "float16": float16,
    "int8": int8(SEEN),
}


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    whole = {name: export(three_layers_model(), choose) for name, choose in CHOICES.items()}
    return whole | {f"slim {name}": slim(content) for name, content in whole.items()}


NAMES = [*CHOICES, *(f"slim {name}" for name in CHOICES)]


@pytest.mark.parametrize("name", NAMES)
def test_parts_add_up_to_the_length_of_the_file(files: dict[str, bytes], name: str) -> None:
    found = ledger.file_parts(TFLiteModel(files[name]))
    assert tuple(found) == ledger.KINDS
    assert sum(found.values()) == len(files[name])
    bits = {"float32": 32, "float16": 16, "int8": 8}[name.removeprefix("slim ")]
    assert found["weights"] == (72 + 16 + 300) * bits // 8
    assert found["biases"] == (4 + 4 + 3) * (2 if bits == 16 else 4)


@pytest.mark.parametrize("name", NAMES)
def test_parts_do_not_overlap_and_padding_is_zero(files: dict[str, bytes], name: str) -> None:
    content = files[name]
    owned = np.zeros(len(content), int)
    for part in parts(content):
        owned[part.start : part.end] += 1
    assert owned.max() == 1
    assert not np.frombuffer(content, np.uint8)[owned == 0].any()


def test_slimming_removes_names_and_scales_and_keeps_weights(files: dict[str, bytes]) -> None:
    before, after = (ledger.file_parts(TFLiteModel(files[n])) for n in ("int8", "slim int8"))
    assert after["names"] < before["names"] / 5
    assert after["quantization"] < before["quantization"]
    assert (after["weights"], after["biases"]) == (before["weights"], before["biases"])


def test_metadata_counts_as_names_and_data_behind_the_flatbuffer_as_weights(
    files: dict[str, bytes],
) -> None:
    def move(model: Any) -> None:
        buffer = model.buffers[tensor_of_shape(model, (3, 100)).buffer]
        buffer.data, buffer.offset, buffer.size = None, 2**16, 300
        entry = backend.tflite_schema().MetadataT(name=b"x" * 50, buffer=len(model.buffers))
        model.buffers.append(backend.tflite_schema().BufferT(data=np.ones(1000, np.uint8)))
        model.metadata.append(entry)

    before = ledger.file_parts(TFLiteModel(files["int8"]))
    content = edited(files["int8"], move).ljust(2**16, b"\0") + bytes(300)
    after = ledger.file_parts(TFLiteModel(content))
    assert after["weights"] == before["weights"]
    assert after["names"] >= before["names"] + 1050
    assert sum(after.values()) == len(content)


def test_entropy_bounds_of_a_tensor_match_values_worked_out_by_hand() -> None:
    model = functional((8,), ("Dense", {"units": 2}))
    kernel = np.array([[0, 1], [0, 1], [0, 2], [0, 2], [0, 3], [0, 3], [0, 4], [0, 4]], np.float32)
    model.layers[1].set_weights([kernel, np.array([5, 6], np.float32)])
    file = TFLiteModel(export(model))
    weights, bias = contents.stored_in(file.graph)
    size = ledger.tensor_size(weights)
    # Half of the numbers are 0: one bit. Four other values with an eighth each: three bits.
    assert (size.numbers, size.nonzero, size.distinct, size.stored_bits) == (16, 8, 5, 32)
    assert size.entropy_bits == pytest.approx(0.5 * 1 + 0.5 * 3)
    assert size.entropy_bytes == pytest.approx(4)
    assert ledger.tensor_size(bias).entropy_bytes == pytest.approx(2 / 8)
    stored = [weights, bias]
    assert ledger.coded_bytes(file, stored)["entropy"] == 5
    assert ledger.weight_coding(stored) == {
        "stored_bits": 32.0,
        "entropy_bits": pytest.approx(2.0),
        "most_distinct": 5,
    }


def test_zstd_bytes_is_the_length_of_the_zstd_stream_at_level_22() -> None:
    content = bytes(range(256)) * 40
    assert ledger.zstd_bytes(content) < 600
    packed = zstandard.ZstdCompressor(level=22).compress(content)
    assert ledger.zstd_bytes(content) == len(packed)
    assert zstandard.ZstdDecompressor().decompress(packed) == content


@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_file_is_refused_or_adds_up(name: str) -> None:
    content = ATTACKS[name]()
    try:
        found = ledger.file_parts(TFLiteModel(content))
    except ValueError:
        return
    assert sum(found.values()) == len(content)


@pytest.mark.parametrize("how", [{"tensors": 50_000}, {"operators": 50_000}, {"codes": 50_000}])
def test_a_table_that_a_list_repeats_is_visited_once(how: dict[str, int]) -> None:
    found = list(parts(file_of(**how)))
    assert len(found) < 100


def test_damaged_files_are_refused_or_add_up(files: dict[str, bytes]) -> None:
    refused = 0
    for number in range(300):
        worse = worse_bytes(files["slim int8"], Random(number))
        try:
            found = ledger.file_parts(TFLiteModel(worse))
        except ValueError:
            refused += 1
        else:
            assert sum(found.values()) == len(worse)
            assert min(found.values()) >= 0
    assert 50 < refused < 300
