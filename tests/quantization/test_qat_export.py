"""The file of a model trained by fake quantization computes what was simulated and stores the trained codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compress import backend
from compress.findings import CannotTreat
from compress.keras_models.model import KerasModel
from compress.measurement.measure import predict
from compress.quantization import int4, qat_export, qat_model
from compress.quantization.gptq import mse_scales
from compress.tflite import contents
from compress.tflite.model import TFLiteModel
from compress.tflite.slim_proof import slim_export
from support.tiny_task import drawn, residual

SCALE = 1 / 255
IMAGES = drawn(0).images


def keras() -> Any:
    return backend.keras()


def disturbed(model: KerasModel) -> KerasModel:
    """The model with random BatchNormalization variables, as after training; half of the gammas are negative."""
    rng = np.random.default_rng(3)
    for layer in model.keras.layers:
        if getattr(layer, "use_bias", False):
            layer.bias.assign(rng.normal(size=layer.bias.shape) / 5)
        if type(layer).__name__ == "BatchNormalization":
            n = layer.moving_mean.shape
            if layer.scale:
                signs = np.where(np.arange(n[0]) % 2, -1, 1)
                layer.gamma.assign(rng.uniform(0.5, 1.5, n) * signs)
            layer.beta.assign(rng.normal(size=n) / 5)
            layer.moving_mean.assign(rng.normal(size=n) / 5)
            layer.moving_variance.assign(rng.uniform(0.5, 1.5, n))
    return model


def training(model: KerasModel, *coarse: str) -> Any:
    images = IMAGES * np.float32(SCALE)
    return qat_model.fake_quantized(model, dict.fromkeys(coarse, 4), images)


def small() -> KerasModel:
    k = keras().layers
    keras().utils.set_random_seed(0)
    image = k.Input((8, 8, 3), name="image")
    x = k.BatchNormalization(name="norm")(k.Conv2D(6, 3, name="conv", use_bias=False)(image))
    return disturbed(
        KerasModel(keras().Model(image, k.Dense(4, name="scores")(k.Flatten()(k.ReLU()(x)))))
    )


def test_a_negative_gamma_flips_the_signs_of_the_stored_codes() -> None:
    """The file stores w * gamma / deviation: the codes of the kernel times the sign of gamma."""
    model = small()
    own = training(model, "conv", "scores")
    layer, norm = own.get_layer("conv"), own.get_layer("norm")
    codes = np.clip(np.rint(layer.kernel.numpy() / layer.steps.numpy()), -7, 7)
    gamma, deviation = norm.gamma.numpy(), np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    assert (gamma < 0).sum() == 3
    file = qat_export.exported(own)
    conv, _ = contents.kernels(file.content)
    assert conv.dtype == "int4"
    np.testing.assert_array_equal(conv.values, codes * np.sign(gamma))
    (kernel,) = [s for s in contents.stored_tensors(file.content) if s.tensor.name == conv.name]
    steps = layer.steps.numpy().ravel() * np.abs(gamma) / deviation
    np.testing.assert_allclose(kernel.tensor.scales, steps, rtol=1e-5)


def mobile() -> Any:
    k = keras().layers
    image = k.Input((8, 8, 3))
    x = k.ReLU(6)(k.BatchNormalization()(k.Conv2D(8, 3, strides=2, padding="same")(image)))
    y = k.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    y = k.Activation("relu6")(k.BatchNormalization()(y))
    x = k.Add()([x, k.BatchNormalization(scale=False)(k.Conv2D(8, 1)(y))])
    return keras().Model(image, k.Dense(5, activation="softmax")(k.GlobalAveragePooling2D()(x)))


def unusual() -> Any:
    """Layers that tfmot refuses: BatchNormalization without a convolution before it, fused activations, Multiply."""
    k = keras().layers
    image = k.Input((8, 8, 3))
    x = k.BatchNormalization()(k.Conv2D(8, 3, activation="relu")(k.BatchNormalization()(image)))
    x = k.Concatenate()([x, k.MaxPooling2D(3, 1, "same")(x), k.Conv2D(4, 1, activation="tanh")(x)])
    x = k.Multiply()([x, k.Conv2D(20, 1, activation="sigmoid")(x)])
    x = k.BatchNormalization()(k.Conv2DTranspose(6, 3, strides=2, activation="relu")(x))
    x = k.LeakyReLU(0.1)(k.AveragePooling2D(2)(k.Conv2D(6, 3, groups=3, activation="swish")(x)))
    x = k.BatchNormalization()(k.Dense(7, use_bias=False)(k.Flatten()(x)))
    return keras().Model(image, k.Softmax()(k.Dense(5)(k.ReLU()(x))))


def rescaled() -> Any:
    k = keras().layers
    image = k.Input((8, 8, 3))
    x = k.Reshape((64, 3))(k.Rescaling([2.0, 3.0, 1.0], offset=-0.5)(image))
    x = k.Conv1D(6, 3, activation="relu")(x)
    return keras().Model(image, k.Dense(5)(k.GlobalAveragePooling1D()(x)))


def gated() -> Any:
    """hard_sigmoid gates, in a separate layer and as the activation of a convolution."""
    k = keras().layers
    image = k.Input((8, 8, 3))
    x = k.BatchNormalization()(k.Conv2D(8, 3)(image))
    x = k.Multiply()([x, k.Activation("hard_sigmoid")(x)])
    gate = k.Conv2D(4, 1, activation="relu")(k.GlobalAveragePooling2D(keepdims=True)(x))
    x = k.Multiply()([x, k.Conv2D(8, 1, activation="hard_sigmoid")(gate)])
    return keras().Model(image, k.Dense(5)(k.GlobalAveragePooling2D()(x)))


def gated_vectors() -> Any:
    """A hard_sigmoid gate in a Dense layer, and one that is concatenated with values of another range."""
    k = keras().layers
    image = k.Input((8, 8, 3))
    x = k.Conv2D(8, 3)(image)
    wide = {
        "activation": "hard_sigmoid",
        "kernel_initializer": keras().initializers.RandomNormal(stddev=3),
    }
    gate = k.Dense(8, **wide)(k.GlobalAveragePooling2D()(x))
    x = k.Multiply()([x, k.Reshape((1, 1, 8))(gate)])
    x = k.Concatenate()([x, k.Conv2D(8, 1, **wide)(x)])
    return keras().Model(image, k.Dense(5)(k.GlobalAveragePooling2D()(x)))


def stacked() -> Any:
    """A Sequential that already has the plain form."""
    k = keras().layers
    layers = [k.Conv2D(6, 3), k.BatchNormalization(), k.ReLU(), k.GlobalAveragePooling2D()]
    return keras().Sequential([k.Input((8, 8, 3)), *layers, k.Dense(5)])


BUILDS = [mobile, unusual, rescaled, gated, gated_vectors, stacked, lambda: residual().keras]


@pytest.mark.parametrize("build", BUILDS)
def test_the_file_uses_only_integers_and_computes_what_training_simulates(
    build: Callable[[], Any],
) -> None:
    keras().utils.set_random_seed(1)
    model = disturbed(KerasModel(build()))
    own = training(model)
    file = qat_export.exported(own)
    graph = file.graph
    kinds = {t.dtype for o in graph.operators for t in (*o.inputs, *o.outputs) if t is not None}
    assert kinds == {"int8", "int32"}
    simulated = own(IMAGES * np.float32(SCALE), training=False).numpy()
    (step,) = graph.outputs[0].scales
    steps_apart = np.abs(predict(file, IMAGES, SCALE) - simulated) / step
    assert np.ptp(simulated) > 20 * step
    assert np.median(steps_apart) <= 1
    assert steps_apart.max() <= 6
    exact = model.keras(IMAGES * np.float32(SCALE), training=False).numpy()
    assert np.abs(simulated - exact).mean() < 0.05 * np.ptp(exact)


def test_a_gate_directly_after_a_kernel_adds_no_operator_to_the_file() -> None:
    model = KerasModel(gated_vectors())
    own = training(disturbed(model))
    names = [operator.name for operator in qat_export.exported(own).graph.operators]
    # The concatenated gate needs a shift, which is folded, and a factor.
    assert names.count("DEPTHWISE_CONV_2D") <= 2
    assert names.count("MUL") == 1
    gate = own.get_layer(next(n for n in (x.name for x in own.layers) if "activation_scale" in n))
    before = [w.numpy() for w in gate.weights]
    own(IMAGES * np.float32(SCALE), training=True)
    for then, now in zip(before, gate.weights, strict=True):
        np.testing.assert_array_equal(then, now.numpy())
    assert gate.trainable_weights == []


def test_training_starts_from_the_rounded_kernel_and_its_steps() -> None:
    """The first file has the rounded codes; weights that rounding made equal are not kept as clusters."""
    model, images = small(), IMAGES * np.float32(SCALE)
    rounded = int4.fake_quantized(model, ["conv"], images).kernels()["conv"]
    own = qat_model.fake_quantized(model, {"conv": 4}, images, {"conv": rounded})
    layer, steps = own.get_layer("conv"), mse_scales(model.kernels()["conv"])
    np.testing.assert_allclose(layer.steps.numpy().ravel(), steps, rtol=1e-6)
    codes = qat_export.codes_by_layer(own)["conv"].codes
    gamma = own.get_layer("norm").gamma.numpy()
    np.testing.assert_allclose(codes * steps * np.sign(gamma), rounded, rtol=1e-5)
    assert (np.abs(layer.kernel.numpy() / layer.steps.numpy()) < 7).all()
    assert layer.kernel.constraint is None


def test_a_code_that_the_file_stores_differently_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, converted = training(small(), "conv"), qat_export.converted

    def with_another_code(model: Any, scheme: Any) -> bytes:
        layer = next(layer for layer in model.layers if layer.name == "conv")
        layer.stored.codes.flat[5] += 1
        file = converted(model, scheme)
        layer.stored.codes.flat[5] -= 1
        return file

    monkeypatch.setattr(qat_export, "converted", with_another_code)
    with pytest.raises(
        ValueError, match="what layer 'conv' was trained with: 1 of 162 codes differ"
    ):
        qat_export.exported(own)


def test_check_codes_finds_one_changed_code_in_a_finished_file() -> None:
    own = training(small(), "conv")
    file = slim_export(qat_export.exported(own).content, IMAGES[:2] * np.float32(SCALE))
    qat_export.check_codes(file, own)
    conv = contents.stored_tensors(file.content)[0]
    place = file.content.index(bytes(conv.tensor.data))
    content = bytearray(file.content)
    content[place] ^= 1
    with pytest.raises(ValueError, match="layer 'conv' was trained with: 1 of 162 codes differ"):
        qat_export.check_codes(TFLiteModel(bytes(content)), own)


def test_a_channel_without_weights_keeps_its_bias() -> None:
    model = small()
    model.keras.get_layer("norm").gamma.assign([0, 1, 1, 1, 1, 1])
    w = model.kernel_variables()["conv"]
    w.assign(w.numpy() * [1, 0, 1, 1, 1, 1])
    own = training(model, "conv")
    conv, _ = contents.kernels(qat_export.exported(own).content)
    assert not conv.values[..., :2].any()
    simulated = own(IMAGES * np.float32(SCALE), training=False).numpy()
    predicted = predict(qat_export.exported(own), IMAGES, SCALE)
    assert np.abs(predicted - simulated).max() < 0.05 * np.ptp(simulated)


def test_a_kernel_too_small_for_its_bias_becomes_zeros() -> None:
    model = small()
    w, norm = model.kernel_variables()["conv"], model.keras.get_layer("norm")
    w.assign(w.numpy() * [1e-12, 1, 1, 1, 1, 1])
    norm.moving_mean.assign(np.zeros(6))
    own = training(model)
    file = qat_export.exported(own)
    conv, _ = contents.kernels(file.content)
    assert [bool(conv.values[..., o].any()) for o in range(6)] == [False, *[True] * 5]
    simulated = own(IMAGES * np.float32(SCALE), training=False).numpy()
    assert np.abs(predict(file, IMAGES, SCALE) - simulated).max() < 0.05 * np.ptp(simulated)


def test_equal_biases_are_each_stored_with_the_step_of_their_channel() -> None:
    """The converter would divide all of them by the step of the first channel."""
    model = small()
    model.keras.get_layer("scores").bias.assign([0.5] * 4)
    file = qat_export.exported(training(model, "conv"))
    dense = file.graph.operators[-2]
    _, _, bias = dense.inputs
    assert bias is not None
    assert len(set(bias.scales)) == 4
    np.testing.assert_allclose(bias.values() * bias.scales, 0.5, rtol=1e-3)


def layer_norm(x: Any) -> Any:
    return keras().layers.LayerNormalization(name="odd")(x)


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "kind": (layer_norm, r"layer 'odd' \(LayerNormalization\) has no int8 form in training: use Batch"),
    "constant": (lambda x: x * 2.0, r"computes with a constant: use a Rescaling layer."),
    "dilated": (
        lambda x: keras().layers.Conv2DTranspose(3, 3, dilation_rate=2, name="odd")(x),
        r"layer 'odd' \(Conv2DTranspose\) is dilated, which no int8 kernel supports: use strides.",
    ),
    "norm of a vector": (
        lambda x: keras().layers.BatchNormalization(name="odd")(keras().layers.Flatten()(x)),
        r"layer 'odd' .* does not directly follow a convolution or Dense: put it right after one.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_layers_without_an_integer_form_are_refused_in_one_sentence(case: str) -> None:
    build, sentence = REFUSED[case]
    image = keras().layers.Input((8, 8, 3))
    model = keras().Model(image, keras().layers.Flatten()(build(image)))
    with pytest.raises(CannotTreat, match=sentence):
        training(KerasModel(model))
