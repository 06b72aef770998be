"""Models of users are loaded, checked by the doctor and compressed by the stages."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from compress import backend
from compress.cli.main import cli
from compress.keras_models.model import KerasModel
from compress.keras_models.rebuild import flattened
from compress.model_files.load import load_model
from support.model_zoo import CLASSES, IMAGE, KERAS_3, NAMES, images, keras_2, outputs, saved

# The other models take a minute together; each of these is treated differently.
IN_EVERY_RUN = {"nested", "keras_2", "depthwise"}


def loaded(path: Path) -> KerasModel:
    model = load_model(path)
    assert isinstance(model, KerasModel)
    return model


@pytest.mark.parametrize(
    ("name", "suffix"),
    # Keras cannot write layers of the same name, in models inside a model, to HDF5.
    [(n, s) for n in KERAS_3 for s in ("keras", "h5") if (n, s) != ("nested", "h5")],
)
def test_a_keras_3_model_loads_unchanged(name: str, suffix: str) -> None:
    model = KERAS_3[name]()
    model.save(f"model.{suffix}")
    again = loaded(Path(f"model.{suffix}"))
    assert (again.input_shape, again.classes) == (IMAGE, CLASSES)
    np.testing.assert_array_equal(outputs(again.keras, images()), outputs(model, images()))


def test_a_keras_2_file_loads_with_the_same_outputs() -> None:
    model = keras_2(Path("model.h5"))
    again = loaded(Path("model.h5"))
    np.testing.assert_allclose(
        outputs(again.keras, images()), outputs(model, images()), rtol=1e-5, atol=1e-6
    )


def test_a_keras_2_file_with_a_nested_model_loads_and_is_flattened() -> None:
    tf_keras = importlib.import_module("tf_keras")
    k = tf_keras.layers
    block = tf_keras.Sequential([k.Conv2D(4, 3, input_shape=IMAGE), k.ReLU()], name="block")
    image = k.Input(IMAGE)
    model = tf_keras.Model(image, k.Dense(3)(k.GlobalAveragePooling2D()(block(image))))
    with pytest.warns(UserWarning, match="HDF5"):
        tf_keras.models.save_model(model, "model.h5")
    again = loaded(Path("model.h5"))
    flat, notes = flattened(again)
    assert "'block' is a model inside the model" in notes[0]
    for keras_model in (again.keras, flat.keras):
        np.testing.assert_allclose(
            outputs(keras_model, images()), np.array(model(images())), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize(
    "name", [n if n in IN_EVERY_RUN else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_stages_treat_a_model_as_the_doctor_says(name: str, tmp_path: Path) -> None:
    path = str(saved(name, tmp_path))
    stages = ["prune", "--epochs", "0", "quantize", "--calibration", "8"]
    asked = CliRunner().invoke(cli, ["doctor", path, "--json", *stages])
    assert asked.exit_code == 0, asked.output
    opinions = {o["stage"].split()[0]: o for o in json.loads(asked.stdout)["stages"]}
    assert set(opinions) == {"prune", "quantize"}
    ran = CliRunner().invoke(cli, ["run", "--task", "toy", "--model", path, "--json", *stages])
    assert ran.exit_code == 0, ran.output
    rows: list[dict[str, Any]] = json.loads(ran.stdout)
    assert [row["label"].split()[0] for row in rows] == ["baseline", "prune", "prune"]
    assert rows[-1]["weight_types"]["int8"] > 0
    assert rows[1]["sparsity"] > 0.3
    assert ("is a model inside the model" in ran.stderr) == (name == "nested")
    said = {name for finding in opinions["prune"]["findings"] for name in finding["layers"]}
    assert said == ({"depthwise", "separable"} if name == "depthwise" else set())


@pytest.mark.parametrize("name", KERAS_3)
def test_flattening_keeps_function_weights_and_training_flags(name: str) -> None:
    model = KERAS_3[name]()
    model.layers[1].trainable = False
    before = [w.copy() for w in model.get_weights()]
    flat, notes = flattened(KerasModel(model))
    assert bool(notes) == (name == "nested")
    np.testing.assert_allclose(
        outputs(flat.keras, images()), outputs(model, images()), rtol=1e-6, atol=1e-6
    )
    assert not any(isinstance(layer, backend.keras().Model) for layer in flat.keras.layers)
    assert flat.params == model.count_params()
    count = sum(int(np.prod(v.shape)) for v in flat.keras.trainable_variables)
    assert count == sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("inner_first", [True, False])
def test_flattening_keeps_the_names_of_outer_layers(
    inner_first: bool,
) -> None:
    keras = backend.keras()
    k = keras.layers
    block = keras.Sequential([k.Input((12, 12, 3)), k.Conv2D(3, 1, name="conv")], name="block")
    outer = k.Conv2D(3, 1, name="conv")
    layers = [block, outer] if inner_first else [outer, block]
    flat, _ = flattened(KerasModel(keras.Sequential([k.Input((12, 12, 3)), *layers])))
    names = [layer.name for layer in flat.keras.layers[1:]]
    assert names == (["block_conv", "conv"] if inner_first else ["conv", "block_conv"])
