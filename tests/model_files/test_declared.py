"""The parameters and activations of a model are computed without building it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress import backend
from compress.keras_models.model import KerasModel
from compress.model_files import allowlist
from compress.model_files import declared as declaring
from compress.model_files.load import load_model
from support.architectures import Config, functional, image, obj, sequential, tensor
from support.model_files import build, predict


def declared(*layers: Config, shape: tuple[int, ...] = (8, 8, 3)) -> declaring.Declared:
    config = sequential(image(shape), *layers)
    allowlist.check(config)
    found = declaring.declared(config, legacy=False)
    assert found == declaring.declared(config, legacy=True)
    return found


def test_declared_parameters_and_activations_are_those_of_the_built_model(tmp_path: Path) -> None:
    model = build()
    model.save("model.keras")
    model.save("model.h5")
    for name in ("model.keras", "model.h5"):
        loaded = load_model(Path(name))
        assert isinstance(loaded, KerasModel)
        np.testing.assert_array_equal(predict(loaded.keras), predict(model))
    config = backend.keras().saving.serialize_keras_object(model)
    found = declaring.declared(config, legacy=False)
    numbers = sum(int(np.prod(v.shape)) for v in model.variables)
    assert found.parameters == numbers
    assert ("conv", 6 * 6 * 4) in found.activations
    assert ("logits", 3) in found.activations


@pytest.mark.parametrize(
    ("axis", "numbers"), [(-1, 2 * 3), ([1, 2], 2 * 64), (None, 0), ([], 0), (3, 2 * 3)]
)
@pytest.mark.parametrize("given", [{}, {"mean": 0.0, "variance": 1.0}])
def test_parameters_of_a_normalization_layer_are_declared(
    axis: Any, numbers: int, given: Config
) -> None:
    layer = obj("Normalization", name="norm", axis=axis, **given)
    assert declared(layer).parameters == numbers


def test_a_huge_layer_is_declared_without_being_built() -> None:
    dense = obj("Dense", name="wide", units=10**9)
    found = declared(dense, shape=(10**6,))
    assert found.parameters == 10**15 + 10**9
    with pytest.raises(ValueError, match="'wide' gives more than 67,108,864 numbers for one image"):
        declaring.check_declared(found, stored=10**16)


def test_more_parameters_than_the_file_holds_are_refused() -> None:
    found = declared(obj("Dense", name="wide", units=10_000), shape=(1000,))
    with pytest.raises(ValueError, match="has 10,010,000 parameters, but the file holds 563 numb"):
        declaring.check_declared(found, stored=563)
    declaring.check_declared(found, stored=10_010_000)


def test_the_output_size_of_every_call_of_a_layer_is_declared() -> None:
    up = obj("UpSampling2D", name="up", size=[1000, 1000])
    mean = obj("GlobalAveragePooling2D", name="mean")
    calls = [[], [[tensor("image")], [tensor("up")]], [[tensor("up", 1)]]]
    found = declaring.declared(functional(image(), up, mean, calls=calls), legacy=False)
    assert ("up", 8 * 10**6 * 8 * 10**6 * 3) in found.activations


def test_declaring_draws_no_random_numbers_and_uses_up_no_layer_names() -> None:
    def names_given() -> int:
        return int(backend.keras().layers.ReLU().name.removeprefix("re_lu").strip("_") or 0)

    before, state = names_given(), random.getstate()
    declared(obj("ReLU"), obj("Dropout", rate=0.5))
    assert names_given() == before + 1
    assert random.getstate() == state


def test_declaring_leaves_no_uninitialized_variable() -> None:
    from keras.src.backend.common import global_state

    declared(obj("Dense", name="wide", units=10**6), shape=(10**6,))
    # Keras would create these variables at the end of the next scope; they would not fit into memory.
    assert not global_state.get_global_attribute("uninitialized_variables")
