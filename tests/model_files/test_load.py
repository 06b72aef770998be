"""Model files load completely and unchanged, or are refused in a sentence."""

from __future__ import annotations

import importlib
import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compress import backend
from compress.keras_models.model import KerasModel
from compress.model_files import sanitize
from compress.model_files.load import load_model
from compress.tflite.model import TFLiteModel
from support.damaged_zip import of_two_disks
from support.model_files import Config, build, edited, images, layer, predict, refused

# Files that load


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".hdf5", ".KERAS"])
def test_a_saved_model_loads_unchanged(suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    model = build()
    model.compile("adam", "mse")
    model.save("model" + suffix.lower())
    Path("model" + suffix.lower()).rename("model" + suffix)
    capfd.readouterr()
    loaded = load_model(Path("model" + suffix))
    assert isinstance(loaded, KerasModel)
    assert capfd.readouterr() == ("", "")
    assert loaded.digest == KerasModel(model).digest
    np.testing.assert_array_equal(predict(loaded.keras), predict(model))


def test_a_keras_2_h5_file_loads_with_the_same_outputs() -> None:
    tf_keras = importlib.import_module("tf_keras")
    old = tf_keras.Sequential(
        [
            tf_keras.layers.Conv2D(4, 3, activation="relu", input_shape=(8, 8, 3)),
            tf_keras.layers.BatchNormalization(),
            tf_keras.layers.GlobalAveragePooling2D(),
            tf_keras.layers.Dense(3),
        ]
    )
    with warnings.catch_warnings(action="ignore"):  # a warning that HDF5 is old
        tf_keras.models.save_model(old, "old.h5")
    loaded = load_model(Path("old.h5"))
    assert isinstance(loaded, KerasModel)
    np.testing.assert_allclose(predict(loaded.keras), np.array(old(images())), atol=1e-6)


def keras_2(*layers: str, **options: Any) -> Any:
    """Write old.h5, a Keras 2 model of 8x8x3 images with the named layers, and return that model."""
    tf_keras = importlib.import_module("tf_keras")
    k = tf_keras.layers
    made = [getattr(k, name)(*options.get(name, ())) for name in layers]
    inside = tf_keras.Sequential([k.Conv2D(4, 3, input_shape=(8, 8, 3)), k.ReLU()], name="inside")
    old = tf_keras.Sequential([inside, *made, k.Flatten(), k.Dense(3)])
    with warnings.catch_warnings(action="ignore"):  # a warning that HDF5 is old
        tf_keras.models.save_model(old, "old.h5")
    return old


@pytest.mark.parametrize(
    "layers",
    [
        {"DepthwiseConv2D": (3,), "SpatialDropout2D": (0.2,)},
        {"SeparableConv2D": (4, 3), "Conv2DTranspose": (4, 3)},
        {"Reshape": ((36, 4),), "SeparableConv1D": (4, 3), "LSTM": (3,)},
        {
            "RandomFlip": (),
            "RandomRotation": (0.1,),
            "RandomZoom": (0.1,),
            "RandomContrast": (0.1,),
        },
    ],
    ids="-".join,
)
def test_keras_2_options_that_keras_3_does_not_know_are_dropped(
    layers: dict[str, Any],
) -> None:
    old = keras_2(*layers, **layers)
    loaded = load_model(Path("old.h5"))
    assert isinstance(loaded, KerasModel)
    given = images()
    np.testing.assert_allclose(
        np.array(loaded.keras(given, training=False)),
        np.array(old(given, training=False)),
        atol=1e-5,
    )


def test_an_activation_that_keras_3_computes_differently_from_keras_2_is_refused() -> None:
    keras_2("Activation", Activation=("hard_sigmoid",))
    said = refused(Path("old.h5"))
    assert (
        "applies hard_sigmoid, which Keras 3 computes differently from Keras 2: build it as" in said
    )


def test_a_keras_2_archive_is_refused_with_a_remedy() -> None:
    tf_keras = importlib.import_module("tf_keras")
    model = tf_keras.Sequential([tf_keras.layers.Dense(3, input_shape=(4,))])
    tf_keras.models.save_model(model, "old.keras")
    assert "with Keras 2, save the model as .h5" in refused(Path("old.keras"))


def test_operators_nested_models_and_wrappers_load() -> None:
    keras = backend.keras()
    layers = keras.layers
    image = layers.Input((8, 8, 3))
    x = layers.Conv2D(3, 3, padding="same", activation=keras.activations.gelu)(image)
    x = keras.ops.relu(x * 2.0 + image - 1.0)[:, ::2]
    inner = keras.Sequential([layers.Input((4, 8, 3)), layers.Conv2D(2, 1)])
    inner.compile("adam", loss=lambda a, b: keras.ops.mean(a - b))  # a loss that cannot be loaded
    x = layers.TimeDistributed(layers.Flatten())(inner(x))
    x = layers.Bidirectional(layers.LSTM(3))(x)
    model = keras.Model(image, layers.Dense(3)(x))
    with warnings.catch_warnings(action="ignore"):  # a warning about the loss
        model.save("model.keras")
    loaded = load_model(Path("model.keras"))
    assert isinstance(loaded, KerasModel)
    np.testing.assert_allclose(predict(loaded.keras), predict(model), atol=1e-6)


def test_a_tflite_file_loads_byte_for_byte() -> None:
    content = b"\x1c\0\0\0TFL3" + bytes(100)
    Path("model.tflite").write_bytes(content)
    assert load_model(Path("model.tflite")) == TFLiteModel(content)


def test_the_cause_of_a_long_keras_error_is_reported(saved: Path) -> None:
    def edit(config: Config) -> None:
        layer(config, "conv")["config"]["activation"] = "my_own"

    said = refused(edited(saved, edit))
    assert "activation" in said
    assert "my_own; save the model again" in said


def test_a_python_error_in_keras_is_reported_as_a_fault_of_the_file(saved: Path) -> None:
    said = refused(edited(saved, lambda config: config["config"].update(layers=[{}])))
    assert "cannot be loaded: Keras does not write such a file ('name'); save" in said


def test_output_of_keras_is_hidden_and_its_error_becomes_one_sentence(
    saved: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def noisy(*_: Any, **__: Any) -> None:
        warnings.warn("a warning", stacklevel=1)
        os.write(2, b"native words")
        raise RuntimeError("first line\n  second line.")

    monkeypatch.setattr(backend.keras().saving, "load_model", noisy)
    said = refused(saved)
    assert "cannot be loaded: first line second line; save the model again with Keras" in said
    assert capfd.readouterr() == ("", "")


def test_weights_that_are_not_numbers_load() -> None:
    model = build()
    model.set_weights([np.full_like(w, math.nan) for w in model.get_weights()])
    model.save("model.keras")
    loaded = load_model(Path("model.keras"))
    assert isinstance(loaded, KerasModel)
    assert all(np.isnan(kernel).all() for kernel in loaded.kernels().values())


def test_loading_changes_and_creates_no_file(saved: Path) -> None:
    before = saved.read_bytes()
    load_model(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.glob("*.keras")) == [saved]


# Damaged and wrong files


def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"no file gone\.keras; expected a model"):
        load_model(Path("gone.keras"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model.keras", b"hello, I am text", r"not a Keras archive \(it begins with b'hello, I'\)"),
        ("model.h5", b"hello, I am text", "not an HDF5 file"),
        ("model.tflite", b"hello, I am text", "not a TFLite file"),
        ("model.keras", b"", "not a Keras archive"),
        ("model.tflite", b"", "not a TFLite file"),
        ("model.pt", b"PK\x03\x04", "not a kind of model file known here"),
        ("model", b"PK\x03\x04", "not a kind of model file known here"),
        ("model.keras", b"\x89HDF\r\n\x1a\n....", r"is an HDF5 file, not a Keras archive: rename it to model\.h5"),
        ("model.h5", b"PK\x03\x04........", r"rename it to model\.keras"),
        ("model.keras", b"\x1c\0\0\0TFL3....", r"rename it to model\.tflite"),
        ("model.keras", b"PK\x03\x04" + bytes(100), "is cut short or damaged"),
        ("model.h5", b"\x89HDF\r\n\x1a\n" + bytes(100), "is cut short or damaged"),
    ],
)  # fmt: skip
def test_a_file_of_another_kind_than_its_suffix_is_refused(
    name: str, content: bytes, words: str
) -> None:
    Path(name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        load_model(Path(name))
    with pytest.raises(ValueError, match=words):
        load_model(Path(name), trust=True)


@pytest.mark.parametrize("trust", [False, True])
def test_an_archive_that_claims_a_second_disk_is_refused(saved: Path, trust: bool) -> None:
    path = Path("model.keras")
    path.write_bytes(of_two_disks(saved.read_bytes()))
    with pytest.raises(ValueError, match=r"model\.keras is cut short or damaged; .* Copy it again"):
        load_model(path, trust)


def test_a_folder_is_refused() -> None:
    Path("model.keras").mkdir()
    assert "is a folder" in refused(Path("model.keras"))


def test_the_command_suggested_for_a_savedmodel_folder_works(tmp_path: Path) -> None:
    tf_keras = importlib.import_module("tf_keras")
    old = tf_keras.Sequential([tf_keras.layers.Dense(3, input_shape=(4,))])
    tf_keras.models.save_model(old, "folder")
    command = refused(Path("folder")).split('"')[1]
    with warnings.catch_warnings(action="ignore"):  # a warning that HDF5 is old
        exec(command, {})
    loaded = load_model(Path("model.h5"))
    assert isinstance(loaded, KerasModel)
    np.testing.assert_array_equal(loaded.keras.get_weights()[0], old.get_weights()[0])
    (tmp_path / "folder" / "keras_metadata.pb").unlink()
    assert "a SavedModel without a Keras model in it" in refused(Path("folder"))


def test_the_command_suggested_for_an_older_savedmodel_layout_works() -> None:
    """Before TensorFlow 2.5, saved_model.pb itself described the layers."""
    tf_keras = importlib.import_module("tf_keras")
    described = importlib.import_module("tf_keras.protobuf.saved_metadata_pb2").SavedMetadata()
    graph = importlib.import_module("tensorflow.core.protobuf.saved_model_pb2").SavedModel()
    old = tf_keras.Sequential([tf_keras.layers.Dense(3, input_shape=(4,))])
    tf_keras.models.save_model(old, "folder")
    described.ParseFromString(Path("folder/keras_metadata.pb").read_bytes())
    graph.ParseFromString(Path("folder/saved_model.pb").read_bytes())
    nodes = graph.meta_graphs[0].object_graph_def.nodes
    for node in described.nodes:
        nodes[node.node_id].user_object.metadata = node.metadata
    Path("folder/saved_model.pb").write_bytes(graph.SerializeToString())
    Path("folder/keras_metadata.pb").unlink()
    command = refused(Path("folder")).split('"')[1]
    with warnings.catch_warnings(action="ignore"):  # a warning that HDF5 is old
        exec(command, {})
    loaded = load_model(Path("model.h5"))
    assert isinstance(loaded, KerasModel)
    np.testing.assert_array_equal(loaded.keras.get_weights()[0], old.get_weights()[0])


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_registered_custom_class_loads_only_if_the_file_is_trusted(suffix: str) -> None:
    keras = backend.keras()

    class Doubled(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs * 2

    image = keras.layers.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Flatten()(Doubled()(image)))
    path = Path(f"own.{suffix}")
    model.save(path)
    with pytest.raises(ValueError, match="own"):
        load_model(path, trust=True)
    with keras.saving.custom_object_scope({"Doubled": Doubled, "Custom>Doubled": Doubled}):
        assert "add --trust" in refused(path)
        loaded = load_model(path, trust=True)
    assert isinstance(loaded, KerasModel)
    np.testing.assert_array_equal(predict(loaded.keras), predict(model))


def test_a_file_above_the_size_limit_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("model.keras").open("wb") as file:
        file.truncate(sanitize.MAX_BYTES + 1)  # a sparse file: takes no disk space
    monkeypatch.setattr(Path, "open", None)
    assert "Give a smaller model" in refused(Path("model.keras"))


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(share=st.floats(0, 1, exclude_max=True), kind=st.sampled_from(["saved", "saved_h5"]))
def test_a_truncated_file_is_refused(
    share: float, kind: str, request: pytest.FixtureRequest
) -> None:
    whole = request.getfixturevalue(kind)
    content = whole.read_bytes()
    path = Path(whole.name)
    path.write_bytes(content[: int(share * len(content))])
    assert "Copy it again" in refused(path)


# Number formats


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "float64"])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_model_that_is_not_float32_is_refused(policy: str, suffix: str) -> None:
    build(dtype=policy).save("model" + suffix)
    said = refused(Path("model" + suffix))
    assert "expected float32 throughout" in said
    assert "'logits'" in said or "/kernel'" in said


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_a_model_quantized_by_keras_is_refused(mode: str) -> None:
    model = build()
    with warnings.catch_warnings(action="ignore"):  # a warning that Conv2D is not quantized
        model.quantize(mode)
    model.save("model.keras")
    said = refused(Path("model.keras"))
    assert "layer 'logits'" in said
    assert "give the model as it was before model.quantize()" in said


def test_a_nested_model_that_is_not_float32_is_refused() -> None:
    keras = backend.keras()
    inner = keras.Sequential(
        [keras.layers.Input((8, 8, 3)), keras.layers.ReLU(dtype="mixed_float16", name="half")]
    )
    keras.Sequential([keras.layers.Input((8, 8, 3)), inner]).save("model.keras")
    assert "'half' works in float16" in refused(Path("model.keras"))


def test_a_model_with_uint8_inputs_is_refused() -> None:
    keras = backend.keras()
    image = keras.layers.Input((8, 8, 3), dtype="uint8", name="image")
    keras.Model(image, keras.layers.Rescaling(1 / 255)(image)).save("model.keras")
    assert "'image' works in uint8" in refused(Path("model.keras"))
