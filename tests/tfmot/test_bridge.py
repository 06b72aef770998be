"""The tf_keras twin computes the same as the Keras 3 model, and its weights are copied to a copy of the model."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from compress.keras_models.layers import gives_probabilities, kernels
from compress.keras_models.model import KerasModel
from compress.tfmot import bridge
from compress.weight_sharing import cluster_ids, distinct
from support.twins import IMAGE, assert_twins, inputs_of, keras, randomised


def residual() -> Any:
    """A model with everything that a graph can have: a shared layer, branches, operators, two inputs, two outputs."""
    k = keras().layers
    image, hint = k.Input(IMAGE, name="image"), k.Input((4,), name="hint")
    shared = k.Conv2D(4, 1, name="shared")
    x = k.Conv2D(4, 3, padding="same", name="first")(image)
    x = shared(k.ReLU()(k.BatchNormalization(name="norm")(x)))
    x = shared(x) + x
    x = x * k.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = k.Concatenate()([x, k.SeparableConv2D(4, 3, padding="same", name="separable")(x)])
    pooled = k.GlobalAveragePooling2D()(x)
    scores = k.Dense(3, name="scores")(k.Concatenate()([k.Dropout(0.3)(pooled), hint]))
    return randomised(keras().Model([image, hint], [scores, pooled]))


def test_twin_of_a_graph_computes_the_same() -> None:
    twin = assert_twins(residual())
    assert [v.name for v in twin.weights if "shared" in v.name] == [
        "shared/kernel:0",
        "shared/bias:0",
    ]


def test_twin_of_a_sequential_computes_the_same() -> None:
    k = keras().layers
    assert_twins(
        randomised(keras().Sequential([k.Input(IMAGE), k.Conv2D(4, 3), k.Flatten(), k.Dense(2)]))
    )


def test_twin_takes_and_returns_dicts_like_the_model() -> None:
    k = keras().layers
    image = k.Input(IMAGE, name="image")
    x = k.Conv2D(4, 3, name="conv")(image)
    model = keras().Model({"image": image}, {"last": k.Flatten()(x), "first": x})
    twin = bridge.twin(model)
    array = {"image": inputs_of(model)[0]}
    ours, theirs = model(array), twin(array)
    assert sorted(theirs) == ["first", "last"]
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-6)


@pytest.mark.parametrize("noted", [None, False, True])
def test_the_training_argument_of_a_layer_call_is_overridden_as_in_keras_3(
    noted: bool | None,
) -> None:
    image = keras().layers.Input(IMAGE)
    model = keras().Model(image, keras().layers.Dropout(0.5)(image, training=noted))
    array = inputs_of(model)[0]
    for training in (False, True):
        dropped = [np.any(m(array, training=training) == 0) for m in (model, bridge.twin(model))]
        assert dropped == [training, training]


def test_weights_of_the_twin_are_copied_to_a_copy_of_the_model() -> None:
    model = residual()
    before = [w.copy() for w in model.get_weights()]
    twin = bridge.twin(model)
    twin.set_weights([w + 1 if w.dtype == np.float32 else w for w in twin.get_weights()])
    home = bridge.with_weights_of(twin, model)
    assert home.get_config()["layers"] == model.get_config()["layers"]
    for old, kept, new in zip(before, model.get_weights(), home.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, old)
        np.testing.assert_array_equal(new, old + 1)


@pytest.mark.parametrize("digits", [9, 0])
def test_training_keeps_zeros_and_clusters_and_changes_other_weights(digits: int) -> None:
    k = keras().layers
    image = k.Input(IMAGE)
    unit = keras().constraints.UnitNorm()
    x = k.Conv2D(4, 3, name="plain", kernel_constraint=unit)(image)
    x = k.SeparableConv2D(4, 3, name="separable")(k.DepthwiseConv2D(3, name="depthwise")(x))
    model = randomised(keras().Model(image, k.Dense(2, name="dense")(k.Flatten()(x))))
    rng = np.random.default_rng(0)
    for variable in kernels(model).values():
        rounded = np.round(variable.numpy() * 4, digits) / 4
        variable.assign(rounded * (rng.random(variable.shape) < 0.5))
    before = KerasModel(model).kernels()
    twin = bridge.twin(model, clusters={name: cluster_ids(w) for name, w in before.items()})
    adam = bridge.tf_keras().optimizers.Adam(0.1, weight_decay=0.1)
    twin.compile(adam, loss="mse")
    twin.fit(rng.normal(size=(8, *IMAGE)), rng.normal(size=(8, 2)), epochs=3, verbose=0)
    after = KerasModel(bridge.with_weights_of(twin, model)).kernels()
    assert len(after) == 5
    for name, w in before.items():
        np.testing.assert_array_equal(after[name] == 0, w == 0, err_msg=name)
        assert not np.any((after[name] == w) & (w != 0)), name
        assert digits or distinct(after[name]) == distinct(w), name
    if not digits:
        return  # shared values cannot have the norm of every channel
    lengths = np.linalg.norm(after["plain"], axis=0)  # the model's own constraint holds
    np.testing.assert_allclose(lengths[lengths > 0], 1, rtol=1e-5)


def test_pruning_reaches_the_sparsity_of_the_schedule_and_is_stripped() -> None:
    k = keras().layers
    image = k.Input(IMAGE)
    x = k.Conv2D(4, 3, name="dense")(k.Conv2D(4, 3, name="conv")(image))
    model = randomised(keras().Model(image, k.SeparableConv2D(4, 3, name="separable")(x)))
    before = KerasModel(model).kernels()
    ramp = bridge.PolynomialSchedule(0.0, 0.5, begin_step=1, end_step=3, frequency=2)
    pruning, callbacks = bridge.with_pruning(bridge.twin(model), {"conv": ramp, "separable": ramp})
    pruning.compile(bridge.tf_keras().optimizers.SGD(1e-5), loss="mse")
    rng = np.random.default_rng(0)
    images, targets = rng.normal(size=(8, *IMAGE)), rng.normal(size=(8, 2, 2, 4))
    pruning.fit(images, targets, batch_size=2, verbose=0, callbacks=callbacks)
    stripped = bridge.without_pruning(pruning)
    after = KerasModel(bridge.with_weights_of(stripped, model)).kernels()
    sparse = {name: np.mean(w == 0) for name, w in after.items()}
    assert sparse == {
        "conv": 0.5, "dense": 0, "separable/depthwise_kernel": 0, "separable/pointwise_kernel": 0.5,
    }  # fmt: skip
    assert all(np.any(after[name] != w) for name, w in before.items())
    assert [layer.name for layer in stripped.layers] == [layer.name for layer in model.layers]


def test_loading_tfmot_does_not_change_the_keras_of_the_process() -> None:
    code = (
        "import os, sys\n"
        "from compress import backend; from compress.tfmot import bridge as tfmot_bridge\n"
        "assert not {'tensorflow', 'tf_keras', 'tensorflow_model_optimization'} & set(sys.modules)\n"
        "before = dict(os.environ)\n"
        "tfmot_bridge.tfmot()\n"
        "changed = {k: v for k, v in os.environ.items() if before.get(k) != v}\n"
        "assert all(k.startswith(('TF_', 'GRPC', 'TF2_', 'TPU', 'KMP')) for k in changed), changed\n"
        "assert set(before) <= set(os.environ)\n"
        "assert backend.tensorflow().keras.version() == backend.keras().version()\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")


def test_a_softmax_inside_the_pruning_wrapper_is_recognized() -> None:
    k = keras().layers
    image = k.Input((4, 4, 3))
    x = k.Dense(3, activation="softmax", name="scores")(k.Flatten(name="flat")(image))
    ramp = bridge.PolynomialSchedule(0.0, 0.5, 0, 4, 1)
    double = bridge.twin(keras().Model(image, x))
    wrapped, _ = bridge.with_pruning(double, {"scores": ramp})
    assert gives_probabilities(wrapped)
