"""Slim files are smaller, have the same outputs bit for bit, and do not change when slimmed again."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress import backend
from compress.measurement.measure import predict
from compress.tflite import contents, slim_proof
from compress.tflite.flatbuffer import read
from compress.tflite.model import TFLiteModel
from compress.tflite.sharing_builder import BUFFER_ALIGNMENT, SharingBuilder
from compress.tflite.slim import slim
from compress.tflite.slim_proof import proven_slim, slim_export
from support.damaged_zip import of_two_disks
from support.tflite_examples import (
    Layer,
    edited,
    export,
    float16,
    functional,
    int8,
    tensor_of_shape,
)

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
SEEN = IMAGES * np.float32(1 / 255)
LAYERS: tuple[Layer, ...] = (
    ("Conv2D", {"filters": 8, "kernel_size": 3, "padding": "same"}),
    ("BatchNormalization", {}),
    ("ReLU", {}),
    ("SeparableConv2D", {"filters": 8, "kernel_size": 3, "padding": "same", "activation": "relu"}),
    ("MaxPooling2D", {}),
    ("Conv2D", {"filters": 8, "kernel_size": 1}),
    ("GlobalAveragePooling2D", {}),
    ("Dense", {"units": 4}),
)


def quiet(converter: Any) -> None:
    """Choose nothing: float32."""


CHOICES: dict[str, Callable[[Any], None]] = {
    "float32": quiet,
    "float16": float16,
    "int8": int8(SEEN),
}


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    model = functional((8, 8, 3), *LAYERS)
    return {name: export(model, choose) for name, choose in CHOICES.items()}


@pytest.fixture(scope="module")
def whole(files: dict[str, bytes]) -> bytes:
    return files["int8"]


def unpacked(content: bytes) -> Any:
    return backend.tflite_schema().ModelT.InitFromPackedBuf(content)


@pytest.mark.parametrize("name", CHOICES)
def test_a_slim_file_is_smaller_and_has_the_same_scores_and_numbers(
    files: dict[str, bytes], name: str
) -> None:
    before, after = files[name], proven_slim(files[name])
    assert len(after) < len(before)
    scores = [predict(TFLiteModel(content), IMAGES, 1 / 255) for content in (before, after)]
    np.testing.assert_array_equal(*scores)
    for old, new in zip(contents.kernels(before), contents.kernels(after), strict=True):
        np.testing.assert_array_equal(new.values, old.values)
    summaries = [
        (contents.stored_params(s), contents.nonzero_params(s), contents.weight_types(s))
        for s in map(contents.stored_tensors, (before, after))
    ]
    assert summaries[0] == summaries[1]
    macs = [[o.macs for o in contents.operators(content)] for content in (before, after)]
    assert macs[0] == macs[1]


@pytest.mark.parametrize("name", CHOICES)
def test_slimming_twice_changes_nothing(files: dict[str, bytes], name: str) -> None:
    once = slim(files[name])
    assert slim(once) == once
    assert slim(files[name]) == once


def test_only_names_of_inputs_and_outputs_are_kept(whole: bytes) -> None:
    before, after = read(whole), read(slim(whole))
    for old, new in ((before.inputs, after.inputs), (before.outputs, after.outputs)):
        assert [t.name for t in new] == [t.name for t in old]
    inner = [t.name for o in after.operators for t in o.outputs if t not in after.outputs]
    assert inner == [""] * (len(after.operators) - 1)


def test_signatures_are_kept() -> None:
    model = functional((8, 8, 3), *LAYERS)
    tf = backend.tensorflow()
    with backend.stderr_held_back():
        root = tf.Module()
        root.held = [v.value for v in model.variables]
        root.serve = tf.function(
            lambda image: {"scores": model(image, training=False)},
            input_signature=[tf.TensorSpec([1, 8, 8, 3], tf.float32, name="image")],
        )
        concrete = root.serve.get_concrete_function()
        content = tf.lite.TFLiteConverter.from_concrete_functions([concrete], root).convert()
    before, after = unpacked(content).signatureDefs, unpacked(slim(content)).signatureDefs
    assert before
    for old, new in zip(before, after, strict=True):
        assert new.signatureKey == old.signatureKey
        assert [m.name for m in new.inputs] == [m.name for m in old.inputs]
        assert [m.tensorIndex for m in new.outputs] == [m.tensorIndex for m in old.outputs]
    litert = backend.litert().Interpreter(model_content=slim(content))
    assert litert.get_signature_list()["serving_default"]["inputs"] == ["image"]


def test_every_buffer_begins_at_a_multiple_of_16_bytes(whole: bytes) -> None:
    content = slim(whole)
    base = np.frombuffer(content, np.uint8).__array_interface__["data"][0]
    data = [b.data for b in unpacked(content).buffers if b.data is not None]
    places = [array.__array_interface__["data"][0] - base for array in data]
    assert len(set(places)) == len(places) > 5
    assert all(place % BUFFER_ALIGNMENT == 0 for place in places)


def test_zero_points_are_shared_and_as_long_as_their_scales(whole: bytes) -> None:
    tensors = [t for o in read(slim(whole)).operators for t in o.inputs if t and t.scales]
    long = [t for t in tensors if len(t.scales) > 1]
    assert long
    assert all(len(t.zero_points) == len(t.scales) for t in tensors)
    assert len({id(t.zero_points) for t in long if len(t.scales) == 8}) == 1


def test_equal_buffers_are_merged_and_empty_buffers_are_the_first() -> None:
    model = functional(
        (8, 8, 3), *[("Conv2D", {"filters": 3, "kernel_size": 3, "padding": "same"})] * 3
    )
    for layer in model.layers[1:]:
        layer.set_weights([model.layers[1].get_weights()[0], np.arange(3)])
    content = export(model)
    buffers = unpacked(slim(content)).buffers
    assert len(buffers) == 3  # none, the kernel, the bias
    assert buffers[0].data is None
    assert len(unpacked(content).buffers) > 5


def test_a_slim_file_of_many_equal_tensors_is_readable() -> None:
    clipped: Layer = ("ReLU", {"max_value": 3.0})
    content = export(functional((2, 2, 1), *[clipped] * 60, ("GlobalAveragePooling2D", {})))
    before, after = read(content), read(slim(content))
    assert [o.name for o in after.operators] == [o.name for o in before.operators]
    tensors = {t for o in after.operators for t in o.outputs}
    assert len(tensors) == len(after.operators) > 60  # a shared table is not one tensor


def test_descriptive_metadata_is_removed_and_other_metadata_is_kept(whole: bytes) -> None:
    def add(model: Any) -> None:
        schema = backend.tflite_schema()
        entry, buffer = schema.MetadataT(), schema.BufferT()
        entry.name, entry.buffer = b"OfflineMemoryAllocation", len(model.buffers)
        buffer.data = np.arange(9, dtype=np.uint8)
        model.buffers.append(buffer)
        model.metadata.append(entry)
        model.description = b"made for a test"

    model = unpacked(slim(edited(whole, add)))
    assert [entry.name for entry in model.metadata] == [b"OfflineMemoryAllocation"]
    assert model.buffers[model.metadata[0].buffer].data.tolist() == list(range(9))
    assert model.description is None


def test_data_behind_the_flatbuffer_is_moved_into_it(whole: bytes) -> None:
    kernel = np.array(contents.kernels(whole)[-1].values)

    def move(model: Any) -> None:
        buffer = model.buffers[tensor_of_shape(model, (4, 8)).buffer]
        buffer.data, buffer.offset, buffer.size = None, 2**16, 32

    data = kernel.T.astype(np.int8).tobytes()
    content = edited(whole, move).ljust(2**16, b"\0") + data
    np.testing.assert_array_equal(contents.kernels(proven_slim(content))[-1].values, kernel)
    assert len(slim(content)) == len(slim(whole))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda m: setattr(m.subgraphs[0].tensors[0], "buffer", 10_000), "damaged or cut off"),
        (lambda m: setattr(m.subgraphs[0].operators[0], "builtinOptionsType", 250), "later release"),
        (lambda m: setattr(m.subgraphs[0].operators[0], "largeCustomOptionsOffset", 99), "behind"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_rewritten_is_refused(
    whole: bytes, damage: Any, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        slim(edited(whole, damage))


def test_packed_labels_are_refused(whole: bytes) -> None:
    held = io.BytesIO(whole)
    with zipfile.ZipFile(held, "a") as archive:
        archive.writestr("labels.txt", "cat\ndog")
    with pytest.raises(ValueError, match="carries packed files"):
        proven_slim(held.getvalue())
    with pytest.raises(ValueError, match="carries packed files that are cut short or damaged"):
        proven_slim(of_two_disks(held.getvalue()))


def test_a_slim_form_with_other_outputs_is_not_returned(
    whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def negate(model: Any) -> None:
        buffer = model.buffers[tensor_of_shape(model, (4, 8)).buffer]
        buffer.data = np.invert(buffer.data)

    def in_this_process(module: str, folder: Path) -> None:
        slim_proof._prove((folder / "model.tflite").read_bytes(), folder)

    monkeypatch.setattr(slim_proof.interpreter, "run_apart", in_this_process)
    assert len(proven_slim(whole)) < len(whole)
    monkeypatch.setattr(slim_proof, "slim", lambda content, **how: edited(slim(content), negate))
    with pytest.raises(ValueError, match="computes something else with the slim form"):
        proven_slim(whole)
    kept = slim_export(whole)
    assert kept.content == whole
    assert len(kept.notes) == 1
    assert kept.notes[0].startswith("the file is as the converter wrote it, not slimmed: ")


def test_the_proof_distinguishes_a_file_that_leaves_xnnpack(
    whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_bias_scales(model: Any) -> None:
        graph = model.subgraphs[0]
        for operator in graph.operators:
            if len(operator.inputs) == 3:
                graph.tensors[operator.inputs[2]].quantization = None

    expected, found = (
        slim_proof._outcome(content, SEEN)
        for content in (whole, edited(whole, without_bias_scales))
    )
    assert expected != found


def test_int8_convolutions_keep_the_scales_of_their_biases(whole: bytes) -> None:
    convolutions = [o for o in read(slim(whole, int4_bias_scales=False)).operators if o.macs]
    assert all(o.inputs[2] and o.inputs[2].scales for o in convolutions)


@settings(max_examples=4, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                ("Conv2D", {"filters": 4, "kernel_size": 3, "padding": "same"}),
                ("Conv2D", {"filters": 3, "kernel_size": 1, "use_bias": False}),
                ("DepthwiseConv2D", {"kernel_size": 3, "padding": "same"}),
                ("ReLU", {}),
                ("BatchNormalization", {}),
                ("UpSampling2D", {}),
                ("ZeroPadding2D", {}),
            ]
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(sorted(CHOICES)),
    st.integers(0, 2**16),
)
def test_random_networks_can_be_slimmed(layers: list[Layer], scheme: str, seed: int) -> None:
    model = functional((8, 8, 3), *layers, *LAYERS[-2:], seed=seed)
    content = export(model, CHOICES[scheme])
    once = proven_slim(content)
    assert len(once) < len(content)
    assert proven_slim(once) == once


numbers = st.lists(st.integers(-2, 2), max_size=3)


@given(st.lists(st.tuples(numbers, numbers, st.text("ab", max_size=2)), min_size=1, max_size=6))
def test_the_sharing_builder_writes_the_same_tables_in_fewer_bytes(
    tensors: list[tuple[list[int], list[int], str]],
) -> None:
    schema = backend.tflite_schema()
    graph = schema.SubGraphT(tensors=[])
    for shape, zeros, name in tensors:
        quantization = schema.QuantizationParametersT(
            scale=np.array(zeros, np.float32), zeroPoint=np.array(zeros, np.int64)
        )
        graph.tensors.append(
            schema.TensorT(
                shape=np.array(shape, np.int32), name=name, quantization=quantization, buffer=1
            )
        )
    model = schema.ModelT(version=3, subgraphs=[graph, graph])
    packed = []
    for builder in (flatbuffers.Builder(1), SharingBuilder(1)):
        builder.Finish(model.Pack(builder), b"TFL3")
        packed.append(bytes(builder.Output()))
    plain, shared = (unpacked(content) for content in packed)
    assert len(packed[1]) < len(packed[0])
    assert flat(plain) == flat(shared)


def flat(value: Any) -> Any:
    """An unpacked table as plain data."""
    if isinstance(value, list):
        return [flat(v) for v in value]
    if isinstance(value, np.ndarray):
        return (str(value.dtype), value.tolist())
    return {k: flat(v) for k, v in vars(value).items()} if hasattr(value, "__dict__") else value
