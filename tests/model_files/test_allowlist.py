"""A model file is refused before Keras sees it unless every object in it is on the list."""

from __future__ import annotations

import importlib
import json
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compress import backend
from compress.keras_models.model import KerasModel
from compress.model_files import allowlist
from compress.model_files.load import load_model
from support.model_files import (
    Config,
    edited,
    function,
    layer,
    members,
    of,
    predict,
    refused,
    write_members,
)

# The list of allowed objects


def test_every_layer_on_the_list_is_a_layer_of_keras() -> None:
    keras = backend.keras()
    names = allowlist.LAYERS.split()
    assert names == sorted(set(names), key=names.index)
    for name in names:
        assert issubclass(getattr(keras.layers, name), keras.layers.Layer), name
        assert getattr(keras.layers, name).__name__ == name


def test_every_name_on_the_list_is_a_building_block_of_models() -> None:
    keras = backend.keras()
    blocks = (
        keras.Operation,  # layers and models are operations
        keras.initializers.Initializer,
        keras.regularizers.Regularizer,
        keras.constraints.Constraint,
        keras.dtype_policies.DTypePolicy,
    )
    reached = 0
    for name, modules in allowlist._allowed().items():
        for module in modules - {None}:
            found = getattr(importlib.import_module(module), name, None)
            if found is not None:
                assert isinstance(found, type), (module, name)
                assert issubclass(found, blocks), (module, name)
                reached += 1
    assert reached >= len(allowlist.LAYERS.split())


def test_layers_that_hold_code_or_read_files_are_not_on_the_list() -> None:
    held = "Lambda TFSMLayer JaxLayer FlaxLayer TorchModuleWrapper TextVectorization StringLookup"
    for name in [*held.split(), "IntegerLookup", "Layer", "function", "__lambda__", "__typespec__"]:
        assert name not in allowlist._allowed()


# Code in a file


LAMBDA = of(
    "keras.layers", "Lambda", name="evil", function={"class_name": "__lambda__", "config": {}}
)
TARGET = "canary"
# The name that the refusal must contain, and an object that Keras once ran or may run.
ATTACKS = {
    "system": function("os", "system"),
    "get_file": function("keras.utils", "get_file"),
    "load_model": function("keras.saving", "load_model"),
    "enable_unsafe_deserialization": function("keras.config", "enable_unsafe_deserialization"),
    "relu": function("builtins", "relu"),
    "__lambda__": {"class_name": "__lambda__", "config": {"value": {"code": "4wAAAA=="}}},
    "Lambda": LAMBDA,
    "Popen": of("subprocess", "Popen", args=["touch", TARGET]),
    "get_file again": of("keras.utils", "get_file", fname=TARGET, origin="file:///etc/passwd"),
    "TFSMLayer": of("keras.layers", "TFSMLayer", filepath="/tmp", name="evil"),
    "TextVectorization": of("keras.layers", "TextVectorization", vocabulary="/etc/passwd"),
    "TorchModuleWrapper": of("keras.layers", "TorchModuleWrapper", module="gASVJg=="),
    "Dense of elsewhere": of("evil.layers", "Dense", units=3),
    "Dense of keras.utils": of("keras.utils", "Dense", units=3),
    "Dense as keras_hub": of("keras_hub.layers", "Dense", units=3),
    "__typespec__": {"class_name": "__typespec__", "spec_name": "TensorSpec", "module": "tf",
                     "config": [], "registered_name": None},
    "TypeSpec": {"class_name": "TypeSpec", "type_spec": "x", "serialized": []},
    "CompositeTensor": {"class_name": "CompositeTensor", "spec": {}, "tensors": []},
    "Custom>Evil": {"class_name": "Evil", "config": {}, "module": None,
                    "registered_name": "Custom>Evil"},
    "Custom>Dense": of("keras.layers", "Dense", units=3) | {"registered_name": "Custom>Dense"},
    "a list": {"class_name": ["Dense"], "config": {}},
    "no config": {"class_name": "system", "module": "os"},
}  # fmt: skip
PLACES: dict[str, Callable[[Config, Config], Any]] = {
    "an activation": lambda config, evil: layer(config, "conv")["config"].update(activation=evil),
    "an initializer": lambda config, evil: layer(config, "logits")["config"].update(
        kernel_initializer=evil
    ),
    "an argument of a call": lambda config, evil: layer(config, "logits")["inbound_nodes"].append(
        {"args": [], "kwargs": {"deep": [[{"er": evil}]]}}
    ),
    "a wrapped layer": lambda config, evil: layer(config, "dropout").update(
        of("keras.layers", "TimeDistributed", name="dropout", layer=evil)
    ),
    "a wrapped wrapped layer": lambda config, evil: layer(config, "dropout").update(
        of("keras.layers", "Bidirectional", name="dropout", layer=of(
            "keras.layers", "TimeDistributed", name="dropout", layer=evil))
    ),
    "a model in the model": lambda config, evil: layer(config, "dropout").update(
        of("keras", "Sequential", name="dropout", layers=[evil])
    ),
    "a build argument": lambda config, evil: layer(config, "conv").update(build_config={"x": evil}),
    "an unused place": lambda config, evil: config.update(notes={"for": ["later", evil]}),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_object_that_is_not_on_the_list_is_refused_in_any_place(
    attack: str, place: str, saved: Path
) -> None:
    with zipfile.ZipFile(saved) as archive:
        config = json.loads(archive.read("config.json"))
    allowlist.check(config)
    PLACES[place](config, ATTACKS[attack])
    with pytest.raises(ValueError, match=r"layer|model") as caught:
        allowlist.check(config)
    said = str(caught.value)
    if place not in ("an unused place", "a model in the model"):
        name = ATTACKS[attack].get("config", {})
        own = name.get("name") if isinstance(name, dict) else None
        hosts = {"an activation": "conv", "a build argument": "conv", "an initializer": "logits"}
        assert repr(own or hosts.get(place, "logits" if "call" in place else "dropout")) in said
    assert ATTACKS[attack]["class_name"][0] in said


@pytest.mark.parametrize("kind", ["saved", "saved_h5"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_file_with_code_in_it_is_refused_before_keras_sees_it(
    attack: str, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("Keras was given the file.")

    path = edited(
        request.getfixturevalue(kind),
        lambda config: PLACES["an activation"](config, ATTACKS[attack]),
    )
    monkeypatch.setattr(backend.keras().saving, "load_model", never)
    assert "conv" in refused(path) or "evil" in refused(path)


def touching_model(at: Path) -> Any:
    """A model whose Lambda creates a file if Keras runs it while it builds the model."""
    keras = backend.keras()
    source = f"lambda x: (open({str(at)!r}, 'w').close(), x)[1]"
    image = keras.layers.Input((8, 8, 3))
    x = keras.layers.Lambda(eval(source), name="touch")(image)
    return keras.Model(image, keras.layers.Flatten()(x))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_in_a_file_runs_only_if_the_file_is_trusted(suffix: str, tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", Path("model" + suffix)
    model = touching_model(canary)
    model.save(path)
    canary.unlink()
    said = refused(path)
    assert "layer 'touch'" in said
    assert "--trust" in said
    assert not canary.exists()
    loaded = load_model(path, trust=True)
    assert isinstance(loaded, KerasModel)
    np.testing.assert_array_equal(predict(loaded.keras), predict(model))
    assert canary.exists()


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_an_activation_that_is_code_is_refused(suffix: str) -> None:
    keras = backend.keras()
    image = keras.layers.Input((8, 8, 3))
    x = keras.layers.Conv2D(2, 1, activation=lambda x: x * x, name="squared")(image)
    with warnings.catch_warnings(action="ignore"):  # a warning that it is unsafe
        keras.Model(image, x).save("model" + suffix)
    said = refused(Path("model" + suffix))
    assert "layer 'squared' needs '__lambda__'" in said
    assert "use Keras layers in its place" in said


def test_code_in_the_compile_config_is_ignored(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit(config: Config) -> None:
        evil = {"loss": function("os", "system"), "metrics": [LAMBDA]}
        nested = of("keras", "Sequential", name="dropout", layers=[
            of("keras.layers", "InputLayer", batch_shape=[None, 6, 6, 4], name="in")])  # fmt: skip
        layer(config, "dropout").update(nested | {"compile_config": evil})
        config["compile_config"] = evil

    path = edited(saved, edit)
    seen = []
    keras = backend.keras()
    real = keras.Model.compile_from_config
    monkeypatch.setattr(
        keras.Model,
        "compile_from_config",
        lambda self, config: seen.append(config) or real(self, config),
    )
    assert isinstance(load_model(path), KerasModel)
    assert seen == []


def test_names_from_the_file_cannot_draw_on_the_terminal(saved: Path) -> None:
    def edit(config: Config) -> None:
        layer(config, "conv")["config"]["name"] = "\x1b[2J\n" + "x" * 10_000
        layer(config, "flat")["class_name"] = "\x1b]0;title\x07"
        config["config"]["layers"][1]["class_name"] = "\x1b[31m" * 1000

    said = refused(edited(saved, edit))
    assert len(said) < 600


def test_keras_errors_that_quote_the_file_cannot_draw_on_the_terminal(saved: Path) -> None:
    drawing = {"kernel_regularizer": "\x1b[2J\x7f"}
    path = edited(saved, lambda config: layer(config, "conv")["config"].update(drawing))
    assert "regularizer identifier: [2J" in refused(path)


@pytest.mark.parametrize(
    ("class_name", "way_out"),
    [
        ("PruneLowMagnitude", "strip_pruning"),
        ("ClusterWeights", "strip_clustering"),
        ("QuantizeWrapperV2", "before quantize_model"),
        ("Custom>PruneLowMagnitude", "strip_pruning"),
        ("MyLayer", "--trust"),
    ],
)
def test_a_refused_layer_is_named_with_a_remedy(
    class_name: str, way_out: str, saved_h5: Path
) -> None:
    said = refused(
        edited(saved_h5, lambda config: layer(config, "conv").update(class_name=class_name))
    )
    assert way_out in said
    assert "layer 'conv'" in said


def test_a_keras_2_policy_of_mixed_precision_is_refused_with_a_remedy(saved_h5: Path) -> None:
    policy = {"class_name": "Policy", "config": {"name": "mixed_float16"}}
    path = edited(saved_h5, lambda config: layer(config, "conv")["config"].update(dtype=policy))
    said = refused(path)
    assert "layer 'conv'" in said
    assert "works on float32 models" in said


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_changed_architecture_loads_or_is_refused_in_a_sentence(
    data: st.DataObject, saved: Path
) -> None:
    def change(config: Config) -> None:
        spots = list(places_in(config))
        parent, key = data.draw(st.sampled_from(spots))
        values = st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-3, 3),
            st.floats(allow_nan=True),
            st.text(max_size=3),
            st.just([]),
            st.just({}),
            st.sampled_from([n["config"] for n in config["config"]["layers"]]),
        )
        parent[key] = json.loads(json.dumps(data.draw(values)))

    path = edited(saved, change)
    try:
        loaded = load_model(path)
    except ValueError:
        refused(path)
    else:
        assert isinstance(loaded, KerasModel)
        whole = backend.keras().saving.load_model(saved)
        for weight, stored in zip(loaded.keras.get_weights(), whole.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, stored)


def places_in(node: Any) -> Iterator[tuple[Any, Any]]:
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in list(items):
        yield node, key
        if isinstance(value, dict | list):
            yield from places_in(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"not json", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "describes no model"),
        (b"3", "describes no model"),
        (b"{}", "describes no model"),
        (b'{"class_name": "__tensor__", "config": {}}', "describes no model"),
        (b'{"class_name": "Dense", "config": {"name": "x"}}', "holds a Dense, not a model"),
        (b'{"class_name": "Sequential", "config": {"name": "x"}}', "cannot be loaded"),
        (b'{"class_name": "Sequential", "a":' + b"[" * 500 + b"]" * 500 + b"}", "deeper than 200"),
    ],
)
def test_an_invalid_architecture_is_refused(text: bytes, words: str, saved: Path) -> None:
    path = write_members(Path("model.keras"), members(saved) | {"config.json": text})
    assert words in refused(path)
