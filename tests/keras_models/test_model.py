"""A copy of a model computes the same with its own variables; `--trust` also applies to kept models."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from compress import backend
from compress.cli.main import cli
from compress.keras_models.layers import gives_probabilities
from compress.keras_models.model import KerasModel
from compress.model_files.load import load_model
from support.model_zoo import images, outputs

IMAGE, CLASSES = (12, 12, 3), 3


def through(layer: Any) -> KerasModel:
    """A model that applies `layer`, a convolution and a Dense layer to images."""
    k = backend.keras().layers
    image = k.Input(IMAGE, name="image")
    x = k.Conv2D(4, 3, name="conv")(layer(image))
    x = k.GlobalAveragePooling2D(name="pool")(x)
    return KerasModel(backend.keras().Model(image, k.Dense(CLASSES, name="logits")(x)))


def of_lambda() -> KerasModel:
    keras = backend.keras()
    return through(keras.layers.Lambda(lambda x: x * 2 - 1, name="scale"))


def of_learnt_figures() -> KerasModel:
    norm = backend.keras().layers.Normalization(name="norm")
    norm.adapt(5 * images(16))
    return through(norm)


def of_a_model_inside() -> KerasModel:
    keras = backend.keras()
    norm = keras.layers.Normalization(name="norm")
    norm.adapt(5 * images(16))
    return through(keras.Sequential([keras.layers.Input(IMAGE), norm], name="inner"))


@pytest.mark.parametrize("made", [of_lambda, of_learnt_figures, of_a_model_inside])
@pytest.mark.parametrize("copied", [KerasModel.copy, KerasModel.trainable_copy])
def test_a_copy_computes_the_same_with_its_own_variables(made: Any, copied: Any) -> None:
    model = made()
    before = outputs(model.keras, images())
    copy = copied(model)
    np.testing.assert_allclose(outputs(copy.keras, images()), before, rtol=1e-6)
    for variable in copy.kernel_variables().values():
        variable.assign(np.zeros(variable.shape))
    np.testing.assert_array_equal(outputs(model.keras, images()), before)


def test_a_trained_model_can_be_copied(toy_model: KerasModel) -> None:
    model = toy_model.copy()
    model.keras.compile("sgd", "mse")
    assert model.copy().digest == toy_model.digest


def test_a_kept_run_of_a_model_with_code_is_reused_only_with_trust(tmp_path: Path) -> None:
    of_lambda().save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="Lambda"):
        load_model(tmp_path / "model.keras")
    words = ["run", "--task", "toy", "--model", str(tmp_path / "model.keras"), "--json"]
    finetune = ["finetune", "--epochs", "1", "--learning-rate", "0.01"]
    first = CliRunner().invoke(cli, [*words, "--trust", *finetune])
    assert first.exit_code == 0, first.output
    again = CliRunner().invoke(cli, [*words, "--trust", *finetune, "quantize"])
    assert again.exit_code == 0, again.output
    assert "finetune --epochs 1 --learning-rate 0.01: reused" in again.stderr
    assert [len(r["pipeline"]) for r in json.loads(again.stdout)] == [0, 1, 2]
    refused = CliRunner().invoke(cli, [*words, *finetune])
    assert refused.exit_code == 1
    assert "--trust" in refused.output


def times(factor: float, swapped: bool = False) -> KerasModel:
    """A model with arithmetic and two branches, all variables zero."""
    k = backend.keras().layers
    image = k.Input(IMAGE)
    x = image * factor
    ways = [k.Conv2D(2, 1, kernel_initializer="zeros")(y) for y in (x, image)]
    ways = [ways[0], backend.keras().ops.relu(ways[1])]
    x = k.GlobalAveragePooling2D()(k.Concatenate()(ways[::-1] if swapped else ways))
    scores = k.Dense(CLASSES, kernel_initializer="zeros")(x)
    return KerasModel(backend.keras().Model(image, scores))


def test_the_digest_depends_on_the_calls_of_layers_and_not_on_their_names() -> None:
    assert times(2.0).digest == times(2.0).digest == times(2.0).copy().digest
    assert len({times(2.0).digest, times(3.0).digest, times(2.0, swapped=True).digest}) == 3


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("baseline", "2a74d621379b3480793fa18de2ddf93a1c4346ec535e5d682fdb40139ff2081e"),
        ("toy", "b61643fd111b212dfbef2b2136cb16be8b451380078f1f6b2c6b031d175602c2"),
    ],
)
def test_the_shipped_models_keep_their_digests(name: str, digest: str) -> None:
    """Keys of kept runs contain digests: with another digest, no run that began with the model is reused."""
    shipped = Path(__file__).parents[2] / "baselines" / "trained" / f"{name}.keras"
    assert load_model(shipped).digest == digest


def test_a_model_with_arithmetic_and_two_branches_keeps_its_digest() -> None:
    """Shipped models have one branch, so their digests do not contain the calls; this model has two."""
    assert times(2.0).digest == "0c0d4b4b836063fb9eb9aea7cca4c1978bf826972ca31b92d39e4b0a21ae1d49"


def test_the_digest_of_a_chain_of_layers_hashes_only_configs_and_weights() -> None:
    k = backend.keras().layers
    image = k.Input((4,))
    dropped = k.Dropout(0.5)(k.BatchNormalization()(image))
    model = KerasModel(backend.keras().Model(image, k.Dense(2)(dropped)))
    sha = hashlib.sha256()
    for layer in model.keras.layers:
        config = {k: v for k, v in layer.get_config().items() if k != "name"}
        text = json.dumps([type(layer).__name__, config], sort_keys=True, default=str)
        sha.update(text.encode())
    for weight in model.keras.get_weights():
        sha.update(str((weight.shape, weight.dtype)).encode() + weight.tobytes())
    assert model.digest == sha.hexdigest()


@pytest.mark.parametrize("ending", ["activation", "layer", "operation", "logits"])
def test_a_softmax_at_the_end_is_recognized_in_every_form(ending: str) -> None:
    k = backend.keras().layers
    image = k.Input((4,))
    x = k.Dense(2, activation="softmax" if ending == "activation" else None)(image)
    if ending != "activation":
        ends = {"layer": k.Softmax(), "operation": backend.keras().ops.softmax}
        x = ends.get(ending, k.Dense(2))(x)
    assert gives_probabilities(backend.keras().Model(image, x)) == (ending != "logits")


def test_a_softmax_layer_called_twice_is_recognized_at_the_end() -> None:
    k = backend.keras().layers
    image, softmax = k.Input((4,)), k.Softmax()
    model = backend.keras().Model(image, softmax(k.Dense(2)(softmax(k.Dense(3)(image)))))
    assert gives_probabilities(model)
    scores = k.Dense(2)(softmax(k.Dense(3)(softmax(k.Dense(3)(image)))))
    assert not gives_probabilities(backend.keras().Model(image, scores))
