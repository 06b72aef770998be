"""Training in bfloat16 computes in bfloat16, learns as in float32, and leaves a plain float32 model."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress import backend
from compress.keras_models.model import KerasModel
from compress.model_files.load import load_model
from compress.training import losses, precision_timing
from compress.training.fit import fit
from compress.training.precision import compiled_copy, computing_in, layers_in_bfloat16
from compress.training.precision_timing import speedup
from support.tiny_task import residual
from support.tiny_training import RECIPES, SEED, Tiny, Trained, Watcher, epochs_found, same, view


def train(
    name: str, asked: str = "bfloat16", folder: Path | None = None, model: Any = None
) -> Trained:
    progress, model = Watcher(), model or Tiny().build()
    data = dataclasses.replace(view(folder, progress), precision=asked)
    return Trained(model, fit(model, RECIPES[name], data, seed=SEED), progress)


@pytest.fixture(scope="module")
def mixed() -> Trained:
    return train("sgd")


def nested() -> Any:
    """A model with a nested model, a custom layer, a normalization of pixels, and a softmax."""
    keras = backend.keras()

    class Halved(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x * np.float32(0.5)

    k = keras.layers
    inner = keras.Sequential([k.Input((8, 8, 4)), k.Conv2D(4, 3, name="inner"), k.ReLU()])
    x = image = k.Input((8, 8, 3))
    x = k.Normalization(mean=[0.4] * 3, variance=[0.1] * 3)(x)
    x = Halved(name="halved")(inner(k.Conv2D(4, 3, padding="same", name="outer")(x)))
    x = k.Dense(3, name="scores")(k.GlobalAveragePooling2D()(x))
    return keras.Model(image, k.Softmax()(x))


def stored(model: KerasModel) -> list[Any]:
    """The operators of the exported file, with the types and shapes of their tensors."""
    return [
        (o.name, [(t.dtype, t.shape) for t in (*o.inputs, *o.outputs) if t is not None])
        for o in model.to_tflite().graph.operators
    ]


def computed_in(model: Any) -> dict[str, set[str]]:
    """The types in which each operation of a training step (loss and all gradients) computes."""
    tf, keras = backend.tensorflow(), backend.keras()
    loss = losses.loss(model, RECIPES["sgd"], None, keras)
    images = tf.zeros((2, *model.input_shape[1:]))

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            value = loss(tf.one_hot([0, 1], 3), model(images, training=True))
        gradients = tape.gradient(value, [v.value for v in model.trainable_variables])
        return value, [g for g in gradients if g is not None]

    operators: dict[str, set[str]] = {}
    for operator in step.get_concrete_function().graph.get_operations():
        if "T" in operator.node_def.attr and operator.outputs:
            operators.setdefault(operator.type, set()).add(operator.get_attr("T").name)
    return operators


@pytest.mark.parametrize("build", [lambda: residual().keras, lambda: Tiny().build()])
def test_convolutions_and_their_gradients_are_computed_in_bfloat16(build: Any) -> None:
    model = build()
    with computing_in("bfloat16", model, backend.keras()):
        inside = computed_in(model)
    kinds = [k for k in inside if "Conv2D" in k or "Conv2d" in k]
    assert {"Conv2D", "Conv2DBackpropFilter"} <= set(kinds)
    assert all(inside[kind] == {"bfloat16"} for kind in kinds)
    assert inside["MatMul"] == {"float32"}  # the last layer
    # TensorFlow's cross-entropy is made of LogSoftmax once anything has asked for determinism.
    cross_entropy = {"SoftmaxCrossEntropyWithLogits", "LogSoftmax"} & set(inside)
    assert cross_entropy
    assert all(inside[kind] == {"float32"} for kind in cross_entropy)
    outside = computed_in(model)
    assert set().union(*(outside[kind] for kind in kinds)) == {"float32"}


def test_layers_that_need_float32_keep_it() -> None:
    names = {layer.name for layer in layers_in_bfloat16(nested())}
    assert {"inner", "outer"} <= names
    assert not names & {"normalization", "halved", "scores", "softmax"}
    model = nested()
    with computing_in("bfloat16", model, backend.keras()):
        assert np.array(model(np.zeros((1, 8, 8, 3), np.float32))).dtype == np.float32
        assert {v.dtype for v in model.variables} == {"float32"}


@pytest.mark.parametrize(
    ("activation", "mixed"),
    [("relu", True), ("silu", True), ("hard_swish", True), ("gelu", False), ("elu", False)],
)
def test_activations_that_are_slow_in_bfloat16_stay_in_float32(
    activation: str, mixed: bool
) -> None:
    keras = backend.keras()
    k = keras.layers
    x = image = k.Input((8, 8, 3))
    x = k.Activation(activation, name="middle")(k.Conv2D(4, 3, name="first")(x))
    x = k.Dense(3)(k.GlobalAveragePooling2D()(k.Conv2D(4, 3, name="second")(x)))
    names = {layer.name for layer in layers_in_bfloat16(keras.Model(image, x))}
    assert {"first", "second"} <= names
    assert ("middle" in names) is mixed


def test_a_teacher_copy_computes_in_bfloat16_and_the_teacher_stays_float32() -> None:
    teacher = KerasModel(Tiny().build())
    images = view(None, Watcher()).validation.images / np.float32(255)
    exact, rough = (
        np.array(compiled_copy(teacher, each).predict_on_batch(images))
        for each in ("float32", "bfloat16")
    )
    np.testing.assert_array_equal(exact, teacher.keras.predict_on_batch(images))
    assert rough.dtype == np.float32
    assert not np.array_equal(rough, exact)
    np.testing.assert_allclose(rough, exact, atol=0.02 * np.abs(exact).max())
    assert {layer.dtype_policy.name for layer in teacher.keras.layers} == {"float32"}


def test_a_model_of_another_keras_is_left_in_float32() -> None:
    model = Tiny().build()
    with computing_in("bfloat16", model, keras=object()) as callbacks:
        assert callbacks == []
        assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}


def test_a_training_that_fails_leaves_the_model_in_float32() -> None:
    model = Tiny().build()

    def fail() -> None:
        with computing_in("bfloat16", model, backend.keras()):
            assert model.layers[1].dtype_policy.name == "mixed_bfloat16"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}


def test_a_training_in_bfloat16_learns_as_one_in_float32(mixed: Trained) -> None:
    plain = train("sgd", "float32")
    assert not same(mixed, plain)
    for column in ("loss", "validation_cross_entropy"):
        one, other = ([row[column] for row in t.history] for t in (mixed, plain))
        assert one == pytest.approx(other, rel=0.02)
    last, other_last = (t.history[-1]["validation_accuracy"] for t in (mixed, plain))
    assert last == pytest.approx(other_last, abs=0.07)  # two of thirty images


def test_a_model_trained_in_bfloat16_is_a_plain_float32_model(
    mixed: Trained, tmp_path: Path
) -> None:
    twin = Tiny().build()
    twin.set_weights(mixed.model.get_weights())
    trained, plain = KerasModel(mixed.model), KerasModel(twin)
    assert trained.digest == plain.digest
    assert {v.dtype for v in mixed.model.weights} == {"float32"}
    assert stored(trained) == stored(plain)
    trained.save(tmp_path / "model.keras")
    assert load_model(tmp_path / "model.keras").digest == plain.digest
    images = view(None, Watcher()).validation.images * np.float32(1 / 255)
    assert np.array_equal(np.array(mixed.model(images)), np.array(twin(images)))


def test_validation_in_a_bfloat16_training_uses_the_saved_float32_model(mixed: Trained) -> None:
    data = view(None, Watcher()).validation
    scores = np.array(mixed.model(data.images * np.float32(1 / 255)), np.float64)
    of_truth = scores[np.arange(len(scores)), data.labels]
    entropy = np.log(np.exp(scores - of_truth[:, None]).sum(1)).mean()
    assert mixed.history[-1]["validation_cross_entropy"] == pytest.approx(entropy, rel=1e-5)


def test_a_resumed_training_in_bfloat16_ends_as_an_unbroken_one(
    mixed: Trained, tmp_path: Path
) -> None:
    class Killed(Watcher):
        def epoch(self, row: dict[str, float]) -> None:
            if row["epoch"] == 2:
                raise KeyboardInterrupt

    data = dataclasses.replace(view(tmp_path, Killed()), precision="bfloat16")
    with pytest.raises(KeyboardInterrupt):
        fit(Tiny().build(), RECIPES["sgd"], data, seed=SEED)
    assert epochs_found(tmp_path) == 0  # in float32 it would be another training
    resumed = train("sgd", folder=tmp_path)
    assert resumed.done_before == 2
    assert same(resumed, mixed)


def test_nested_and_residual_networks_train_in_bfloat16() -> None:
    data = dataclasses.replace(view(None, Watcher()), precision="bfloat16")
    recipe = dataclasses.replace(RECIPES["adam"], epochs=1)
    for model in (nested(), residual().keras):
        (row,) = fit(model, recipe, data, seed=SEED)
        assert np.isfinite(row["loss"])
        assert {v.dtype for v in model.weights} == {"float32"}


def test_timing_compares_the_shortest_rounds_and_leaves_the_model_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = {"process_time": 0.0, "perf_counter": 0.0}
    trained: list[str] = []

    def step(model: Any, *_: Any) -> None:
        """A step that takes 3 seconds in float32 and 2 in bfloat16, and now and then a disturbed one."""
        policies = {layer.dtype_policy.name for layer in model.layers}
        trained.append("bfloat16" if "mixed_bfloat16" in policies else "float32")
        now["process_time"] += 2 if trained[-1] == "bfloat16" else 3
        now["perf_counter"] += 2 if trained[-1] == "bfloat16" else 4
        now["perf_counter"] += 50 * (len(trained) % 7 == 0)

    for clock in now:
        monkeypatch.setattr(precision_timing.time, clock, lambda clock=clock: now[clock])
    monkeypatch.setattr(backend.keras().Model, "train_on_batch", step)
    model = KerasModel(Tiny().build())
    before = model.digest
    assert speedup(model, RECIPES["sgd"], view(None, Watcher())) == 1.5
    turns = trained[:: precision_timing.STEPS]
    assert turns == ["float32", "bfloat16"] * (1 + precision_timing.ROUNDS)
    assert model.digest == before
