"""The tf_keras twin computes what the Keras 3 model does, and its weights come home to a copy of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compress import backend, tfmot_bridge, twin_layers
from compress.layers import kernels
from compress.model import KerasModel

Layers = Any
IMAGE = (8, 8, 3)
ROW = (8, 4)

# One layer of each kind and option: input shape, layer.
ALONE: dict[str, tuple[tuple[int, ...], Callable[[Layers], Any]]] = {
    "Activation": (IMAGE, lambda k: k.Activation("swish")),
    "AveragePooling1D": (ROW, lambda k: k.AveragePooling1D(3, padding="same")),
    "AveragePooling2D": (IMAGE, lambda k: k.AveragePooling2D(3, 2, padding="same")),
    "BatchNormalization": (IMAGE, lambda k: k.BatchNormalization(epsilon=0.01, momentum=0.8)),
    "BatchNormalization bare": (IMAGE, lambda k: k.BatchNormalization(scale=False, center=False)),
    "Conv1D": (ROW, lambda k: k.Conv1D(5, 3, padding="causal")),
    "Conv2D": (IMAGE, lambda k: k.Conv2D(5, 3, 2, padding="same", activation="relu")),
    "Conv2D dilated": (IMAGE, lambda k: k.Conv2D(5, (3, 2), dilation_rate=2, use_bias=False)),
    "Conv2D grouped": (IMAGE, lambda k: k.Conv2D(6, 3, groups=3)),
    "Conv2D frozen": (IMAGE, lambda k: k.Conv2D(6, 3, trainable=False)),
    "Conv2DTranspose": (IMAGE, lambda k: k.Conv2DTranspose(5, 3, 2, padding="same")),
    "Cropping1D": (ROW, lambda k: k.Cropping1D((1, 2))),
    "Cropping2D": (IMAGE, lambda k: k.Cropping2D(((1, 0), (2, 1)))),
    "Dense": (ROW, lambda k: k.Dense(5, activation="softmax")),
    "DepthwiseConv2D": (IMAGE, lambda k: k.DepthwiseConv2D(3, depth_multiplier=2)),
    "Dropout": (IMAGE, lambda k: k.Dropout(0.4)),
    "ELU": (IMAGE, lambda k: k.ELU(0.7)),
    "Flatten": (IMAGE, lambda k: k.Flatten()),
    "GlobalAveragePooling1D": (ROW, lambda k: k.GlobalAveragePooling1D()),
    "GlobalAveragePooling2D": (IMAGE, lambda k: k.GlobalAveragePooling2D(keepdims=True)),
    "GlobalMaxPooling1D": (ROW, lambda k: k.GlobalMaxPooling1D()),
    "GlobalMaxPooling2D": (IMAGE, lambda k: k.GlobalMaxPooling2D()),
    "LayerNormalization": (IMAGE, lambda k: k.LayerNormalization(epsilon=0.01)),
    "LeakyReLU": (IMAGE, lambda k: k.LeakyReLU(negative_slope=0.17)),
    "MaxPooling1D": (ROW, lambda k: k.MaxPooling1D()),
    "MaxPooling2D": (IMAGE, lambda k: k.MaxPooling2D((3, 2), padding="same")),
    "PReLU": (IMAGE, lambda k: k.PReLU(shared_axes=[1, 2])),
    "Permute": (IMAGE, lambda k: k.Permute((3, 1, 2))),
    "ReLU": (IMAGE, lambda k: k.ReLU(max_value=0.5, negative_slope=0.1, threshold=0.1)),
    "RepeatVector": ((4,), lambda k: k.RepeatVector(3)),
    "Rescaling": (IMAGE, lambda k: k.Rescaling(1 / 127.5, offset=-1)),
    "Reshape": (IMAGE, lambda k: k.Reshape((-1, 6))),
    "SeparableConv2D": (IMAGE, lambda k: k.SeparableConv2D(5, 3, depth_multiplier=2)),
    "Softmax": (IMAGE, lambda k: k.Softmax(axis=1)),
    "SpatialDropout1D": (ROW, lambda k: k.SpatialDropout1D(0.4)),
    "SpatialDropout2D": (IMAGE, lambda k: k.SpatialDropout2D(0.4)),
    "UpSampling1D": (ROW, lambda k: k.UpSampling1D(2)),
    "UpSampling2D": (IMAGE, lambda k: k.UpSampling2D(2, interpolation="bilinear")),
    "ZeroPadding1D": (ROW, lambda k: k.ZeroPadding1D((1, 2))),
    "ZeroPadding2D": (IMAGE, lambda k: k.ZeroPadding2D(((1, 0), (2, 1)))),
}
MERGES = "Add Average Concatenate Dot Maximum Minimum Multiply Subtract"


def keras() -> Any:
    return backend.keras()


def alone(shape: tuple[int, ...], layer: Any) -> Any:
    image = keras().layers.Input(shape)
    return randomised(keras().Model(image, layer(image)))


def randomised(model: Any) -> Any:
    """The model with all weights, running variances too, drawn from [-1, 1] or, if it must be positive, [0.5, 1]."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        low = 0.5 if "variance" in variable.path else -1.0
        variable.assign(rng.uniform(low, 1, variable.shape).astype(np.float32))
    return model


def inputs_of(model: Any) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(size=(2, *t.shape[1:])).astype(np.float32) for t in model.inputs]


def outputs(model: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    given = model(arrays if len(arrays) > 1 else arrays[0], training=False)
    values = given.values() if isinstance(given, dict) else given
    return [v.numpy() for v in (values if isinstance(given, dict | list | tuple) else [given])]


def assert_twins(model: Any) -> Any:
    arrays = inputs_of(model)
    before = [w.copy() for w in model.get_weights()]
    twin = tfmot_bridge.twin(model)
    for ours, theirs in zip(outputs(model, arrays), outputs(twin, arrays), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    for layer in model.layers:
        for old, new in zip(
            layer.get_weights(), twin_weights(twin, layer.name, len(layer.weights)), strict=True
        ):
            np.testing.assert_array_equal(old, new)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    return twin


def twin_weights(twin: Any, layer: str, count: int) -> list[np.ndarray]:
    return twin.get_layer(layer).get_weights() if count else []


def residual() -> Any:
    """Everything that a graph can have: a shared layer, branches, operators, two inputs, two outputs."""
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


@pytest.mark.parametrize("case", ALONE)
def test_twin_of_a_layer_computes_the_same(case: str) -> None:
    shape, layer = ALONE[case]
    assert_twins(alone(shape, layer(keras().layers)))


@pytest.mark.parametrize("name", MERGES.split())
def test_twin_of_a_merge_computes_the_same(name: str) -> None:
    k = keras().layers
    one, other = k.Input(ROW), k.Input(ROW)
    layer = k.Dot(axes=(2, 2)) if name == "Dot" else getattr(k, name)()
    assert_twins(keras().Model([one, other], layer([one, other])))


@pytest.mark.parametrize(
    "name",
    [*twin_layers.SAME.split(), "hard_sigmoid", "hard_silu", "leaky_relu", "log_softmax", "relu6"],
)
def test_twin_of_an_activation_computes_the_same(name: str) -> None:
    model = alone((5,), keras().layers.Dense(6, activation=name))
    model.set_weights([w * 4 for w in model.get_weights()])  # as far as the flat ends
    assert_twins(model)


def test_every_supported_layer_is_tried_here() -> None:
    assert {case.partition(" ")[0] for case in ALONE} | set(MERGES.split()) == set(
        twin_layers.SUPPORTED.split()
    )


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


def test_twin_takes_and_gives_dicts_as_the_model_does() -> None:
    k = keras().layers
    image = k.Input(IMAGE, name="image")
    x = k.Conv2D(4, 3, name="conv")(image)
    model = keras().Model({"image": image}, {"last": k.Flatten()(x), "first": x})
    twin = tfmot_bridge.twin(model)
    array = {"image": inputs_of(model)[0]}
    ours, theirs = model(array), twin(array)
    assert sorted(theirs) == ["first", "last"]
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-6)


@pytest.mark.parametrize("noted", [None, False, True])
def test_training_noted_at_a_call_is_overridden_as_in_keras_3(noted: bool | None) -> None:
    image = keras().layers.Input(IMAGE)
    model = keras().Model(image, keras().layers.Dropout(0.5)(image, training=noted))
    array = inputs_of(model)[0]
    for training in (False, True):
        dropped = [
            np.any(m(array, training=training) == 0) for m in (model, tfmot_bridge.twin(model))
        ]
        assert dropped == [training, training]


def test_weights_come_home_to_a_copy() -> None:
    model = residual()
    before = [w.copy() for w in model.get_weights()]
    twin = tfmot_bridge.twin(model)
    twin.set_weights([w + 1 if w.dtype == np.float32 else w for w in twin.get_weights()])
    home = tfmot_bridge.bring_home(twin, model)
    assert home.get_config()["layers"] == model.get_config()["layers"]
    for old, kept, new in zip(before, model.get_weights(), home.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, old)
        np.testing.assert_array_equal(new, old + 1)


def test_regularizers_and_constraints_are_the_same() -> None:
    k = keras().layers
    layer = k.Conv2D(
        4, 3, kernel_regularizer=keras().regularizers.L1L2(0.1, 0.2),
        bias_regularizer="l2", kernel_constraint=keras().constraints.MaxNorm(0.5, axis=[0, 1, 2]),
    )  # fmt: skip
    model = alone(IMAGE, layer)
    twin = tfmot_bridge.twin(model)
    assert len(twin.losses) == 2
    np.testing.assert_allclose(sum(twin.losses), sum(model.losses), rtol=1e-6)
    kernel = twin.layers[1].kernel
    np.testing.assert_allclose(kernel.constraint(kernel), layer.kernel_constraint(layer.kernel))
    assert not np.allclose(kernel.constraint(kernel), kernel)


def test_weights_held_at_zero_stay_there_and_others_learn() -> None:
    k = keras().layers
    image = k.Input(IMAGE)
    unit = keras().constraints.UnitNorm()
    x = k.Conv2D(4, 3, name="plain", kernel_constraint=unit)(image)
    x = k.SeparableConv2D(4, 3, name="separable")(k.DepthwiseConv2D(3, name="depthwise")(x))
    model = randomised(keras().Model(image, k.Dense(2, name="dense")(k.Flatten()(x))))
    rng = np.random.default_rng(0)
    for variable in kernels(model).values():
        variable.assign(variable.numpy() * (rng.random(variable.shape) < 0.5))
    before = KerasModel(model).kernels()
    twin = tfmot_bridge.twin(model, held_at_zero={name: w == 0 for name, w in before.items()})
    adam = tfmot_bridge.tf_keras().optimizers.Adam(0.1, weight_decay=0.1)
    twin.compile(adam, loss="mse")
    twin.fit(rng.normal(size=(8, *IMAGE)), rng.normal(size=(8, 2)), epochs=3, verbose=0)
    after = KerasModel(tfmot_bridge.bring_home(twin, model)).kernels()
    assert len(after) == 5
    for name, w in before.items():
        np.testing.assert_array_equal(after[name] == 0, w == 0, err_msg=name)
        assert not np.any((after[name] == w) & (w != 0)), name
    lengths = np.linalg.norm(after["plain"], axis=0)  # the model's own constraint still holds
    np.testing.assert_allclose(lengths[lengths > 0], 1, rtol=1e-5)


def test_training_with_pruning_ends_at_the_sparsity_of_the_ramp_and_strips_clean() -> None:
    k = keras().layers
    image = k.Input(IMAGE)
    x = k.Conv2D(4, 3, name="dense")(k.Conv2D(4, 3, name="conv")(image))
    model = randomised(keras().Model(image, k.SeparableConv2D(4, 3, name="separable")(x)))
    before = KerasModel(model).kernels()
    ramp = tfmot_bridge.Ramp(0.0, 0.5, begin_step=1, end_step=3, frequency=2)
    pruning, callbacks = tfmot_bridge.with_pruning(
        tfmot_bridge.twin(model), {"conv": ramp, "separable": ramp}
    )
    pruning.compile("sgd", loss="mse")
    rng = np.random.default_rng(0)
    images, targets = rng.normal(size=(8, *IMAGE)), rng.normal(size=(8, 2, 2, 4))
    pruning.fit(images, targets, batch_size=2, verbose=0, callbacks=callbacks)
    stripped = tfmot_bridge.without_pruning(pruning)
    after = KerasModel(tfmot_bridge.bring_home(stripped, model)).kernels()
    sparse = {name: np.mean(w == 0) for name, w in after.items()}
    assert sparse == {
        "conv": 0.5, "dense": 0, "separable/depthwise_kernel": 0, "separable/pointwise_kernel": 0.5,
    }  # fmt: skip
    assert all(np.any(after[name] != w) for name, w in before.items())
    assert [layer.name for layer in stripped.layers] == [layer.name for layer in model.layers]


@pytest.mark.parametrize("kind", ["Dropout", "SpatialDropout2D"])
def test_dropout_keeps_the_mean_and_draws_anew_each_call(kind: str) -> None:
    ones = np.ones((64, 8, 8, 32), np.float32)
    layer = getattr(keras().layers, kind)(0.25)
    twin = tfmot_bridge.twin(alone(ones.shape[1:], layer), seed=3)
    first, second = twin(ones, training=True).numpy(), twin(ones, training=True).numpy()
    assert set(np.unique(first)) == {0.0, np.float32(1 / 0.75)}
    assert abs(first.mean() - 1) < 0.05
    assert np.any(first != second)
    whole_channels = bool(np.all(first == first[:, :1, :1]))
    assert whole_channels == (kind == "SpatialDropout2D")


def test_dropout_goes_on_from_saved_weights_as_if_unbroken() -> None:
    ones = np.ones((2, *IMAGE), np.float32)
    model = alone(IMAGE, keras().layers.Dropout(0.5))
    unbroken, broken, other = (tfmot_bridge.twin(model, seed=s) for s in (3, 3, 4))
    unbroken(ones, training=True)
    for variable, saved in zip(broken.variables, unbroken.variables, strict=True):
        variable.assign(saved)
    expected = unbroken(ones, training=True).numpy()
    np.testing.assert_array_equal(broken(ones, training=True), expected)
    other(ones, training=True)
    assert np.any(other(ones, training=True) != expected)


def custom_layer() -> Any:
    class Twice(keras().layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x * 2

    return alone(IMAGE, Twice(name="odd"))


def derived_layer() -> Any:
    class Conv2D(keras().layers.Conv2D):  # type: ignore[misc]
        """Of the name of Keras's own."""

    return alone(IMAGE, Conv2D(2, 3, name="odd"))


def subclassed_model() -> Any:
    class Own(keras().Model):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x

    return Own(name="odd")


def nested_model() -> Any:
    k = keras().layers
    inner = keras().Sequential([k.Input(IMAGE), k.Conv2D(2, 3)], name="odd")
    return keras().Sequential([k.Input(IMAGE), inner])


def scaled_by_an_operator() -> Any:
    image = keras().layers.Input(IMAGE)
    x = keras().layers.Conv2D(2, 3)(image)
    return keras().Model(image, keras().layers.ReLU()(keras().ops.multiply(x, 2.0)))


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "custom": (custom_layer, r"layer 'odd' \(Twice\) is not a layer of Keras's own: build"),
    "derived": (derived_layer, r"layer 'odd' \(Conv2D\) is not a layer of Keras's own: build"),
    "subclassed": (subclassed_model, "model 'odd' is a Own, .* build it as keras.Sequential"),
    "nested": (nested_model, r"layer 'odd' \(Sequential\) is a model inside .* call its layers"),
    "lambda": (
        lambda: alone(IMAGE, keras().layers.Lambda(lambda x: x, name="odd")),
        r"layer 'odd' \(Lambda\) cannot be trained through tf_keras: leave it out",
    ),
    "augmenting": (
        lambda: alone(IMAGE, keras().layers.RandomFlip(name="odd")),
        r"layer 'odd' \(RandomFlip\) cannot be trained through tf_keras: leave it out",
    ),
    "constant": (scaled_by_an_operator, r"layer '.*' \(Multiply\) is called with something else"),
    "not built": (lambda: keras().Sequential([keras().layers.Dense(2)]), "has no input yet: build"),
    "half precision": (
        lambda: alone(IMAGE, keras().layers.Conv2D(2, 3, name="odd", dtype="mixed_float16")),
        r"layer 'odd' \(Conv2D\) computes in mixed_float16, not in float32: build",
    ),
    "activation": (
        lambda: alone(IMAGE, keras().layers.Conv2D(2, 3, name="odd", activation="squareplus")),
        r"layer 'odd' \(Conv2D\) has an activation that Keras 2 lacks: use",
    ),
    "activation layer": (
        lambda: alone(IMAGE, keras().layers.Dense(2, name="odd", activation=keras().layers.ELU())),
        r"layer 'odd' \(Dense\) has an activation that Keras 2 lacks: use",
    ),
    "name": (
        lambda: alone(IMAGE, keras().layers.Conv2D(2, 3, name="the odd one")),
        r"layer 'the odd one' \(Conv2D\) has a name that Keras 2 does not take: name it",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_model_without_a_twin_is_refused_in_one_sentence(case: str) -> None:
    build, sentence = REFUSED[case]
    model = build()
    with pytest.raises(ValueError, match=sentence) as error:
        tfmot_bridge.check(model)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")
    with pytest.raises(ValueError, match=sentence):
        tfmot_bridge.twin(model)


def test_regularizer_of_its_own_is_refused() -> None:
    class Odd(keras().regularizers.Regularizer):  # type: ignore[misc]
        def __call__(self, x: Any) -> Any:
            return 0.0

        def get_config(self) -> dict[str, Any]:
            return {}

    model = alone(IMAGE, keras().layers.Dense(2, name="odd", kernel_regularizer=Odd()))
    with pytest.raises(
        ValueError, match=r"layer 'odd' .* has a kernel_regularizer of its own: use"
    ):
        tfmot_bridge.check(model)


def test_option_that_keras_2_lacks_is_refused() -> None:
    layer = keras().layers.Dense(4, name="odd")
    model = alone(IMAGE, layer)
    layer.enable_lora(2)
    with pytest.raises(
        ValueError, match=r"layer 'odd' .* has lora_rank=2: build the model without"
    ):
        tfmot_bridge.twin(model)


def test_loading_tfmot_leaves_the_process_as_it_was() -> None:
    code = (
        "import os, sys\n"
        "from compress import backend, tfmot_bridge\n"
        "assert not {'tensorflow', 'tf_keras', 'tensorflow_model_optimization'} & set(sys.modules)\n"
        "before = dict(os.environ)\n"
        "tfmot_bridge.tfmot()\n"
        "changed = {k: v for k, v in os.environ.items() if before.get(k) != v}\n"
        "assert all(k.startswith(('TF_CPP', 'GRPC', 'TF2_', 'TPU', 'KMP')) for k in changed), changed\n"
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
