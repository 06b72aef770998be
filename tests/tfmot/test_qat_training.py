"""The int8 file computes what training simulates: kernels and ranges match, zeros and clusters are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compress import backend
from compress.keras_models.layers import gives_probabilities
from compress.keras_models.model import KerasModel
from compress.tflite.contents import matched_kernels, operators
from compress.tflite.convert import convert
from compress.tflite.flatbuffer import read
from compress.tfmot import bridge, qat
from compress.weight_sharing import nearest
from support.tiny_task import residual, with_holes
from support.twins import IMAGE, keras, randomised

IMAGES = np.random.default_rng(0).integers(0, 256, (60, *IMAGE), dtype=np.uint8)
SEEN = IMAGES * np.float32(1 / 255)


def conv(x: Any, **options: Any) -> Any:
    return keras().layers.Conv2D(6, 3, padding="same", **options)(x)


def norm(x: Any) -> Any:
    return keras().layers.BatchNormalization()(x)


def relu(x: Any, **options: Any) -> Any:
    return keras().layers.ReLU(**options)(x)


def shared(x: Any) -> Any:
    layer = keras().layers.Conv2D(3, 3, padding="same", activation="relu")
    return layer(layer(x))


def branches(x: Any) -> Any:
    first = relu(norm(conv(x)))
    return relu(keras().layers.Add()([first, norm(conv(first))]))


def depthwise(x: Any) -> Any:
    layer = keras().layers.DepthwiseConv2D(3, depth_multiplier=2)
    return relu(norm(layer(relu(norm(conv(x)), max_value=6))), max_value=6)


def separable(x: Any) -> Any:
    return relu(norm(keras().layers.SeparableConv2D(6, 3)(x)))


BLOCKS: dict[str, Callable[[Any], Any]] = {
    "conv, norm, relu": lambda x: relu(norm(conv(x))),
    "norm between convolutions": lambda x: conv(norm(conv(x))),
    "conv, relu": lambda x: relu(conv(x)),
    "conv, relu at 6": lambda x: keras().layers.Activation("relu6")(conv(x)),
    "conv, leaky relu": lambda x: relu(conv(x), negative_slope=0.2),
    "conv with sigmoid": lambda x: conv(x, activation="sigmoid"),
    "concatenation": lambda x: keras().layers.Concatenate()([relu(conv(x)), conv(x)]),
    "transposed": lambda x: keras().layers.Conv2DTranspose(3, 3)(x),
    "dilated": lambda x: relu(norm(conv(x, dilation_rate=2))),
    "groups": lambda x: conv(conv(x), groups=3, activation="relu"),
    "dense, relu": lambda x: relu(keras().layers.Dense(6)(keras().layers.Flatten()(x))),
    "shared": shared,
    "branches": branches,
    "depthwise": depthwise,
    "separable": separable,
}


def model_of(block: Callable[[Any], Any]) -> Any:
    """A model that ends in a block, with positive and negative weights, also of channel scales."""
    image = keras().layers.Input(IMAGE, name="image")
    model = randomised(keras().Model(image, block(image)))
    for variable in model.weights:
        variable.assign(variable * (1.0 if "variance" in variable.path else 0.4))
    return model


def simulated(quantized: Any) -> np.ndarray:
    """float32 [n, ...]: the outputs of the model in training for `IMAGES`."""
    return np.array(quantized(IMAGES / np.float32(255), training=False))


def quantizers(quantized: Any) -> dict[str, Any]:
    """Layer and end of a range -> the variable of that end."""
    found = {
        f"{layer.name}/{v.name.split('/')[-1]}": v
        for layer in quantized.layers
        for v in layer.weights
    }
    return {name: v for name, v in found.items() if name.endswith(("_min:0", "_max:0"))}


@pytest.mark.parametrize("block", BLOCKS)
def test_the_file_computes_what_was_simulated(block: str) -> None:
    model = model_of(BLOCKS[block])
    quantized = qat.quantizable(model, SEEN)
    content = convert(quantized, "int8").content
    step = read(content).outputs[0].scales[0]
    ours, theirs = simulated(quantized), outputs_of(content)
    steps = np.abs(np.round(ours / step) - np.round(theirs / step))
    # A sum exactly between two codes may be rounded up or down.
    assert steps.max() <= 1, "they compute something else"
    assert steps.mean() < 0.1
    assert not any("DEQUANTIZE" in o.name for o in operators(content))
    stored = matched_kernels(read(content), KerasModel(model).kernels())
    assert {w.dtype.kind for w in stored.values()} == {"i"}


def outputs_of(content: bytes) -> np.ndarray:
    """float [n, ...]: the outputs of a file for `IMAGES`, of any shape."""
    interpreter = backend.litert().Interpreter(model_content=content)
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero = taken["quantization"]
    step, offset = given["quantization"]
    results = []
    for image in SEEN:
        code = np.clip(np.round(image / scale) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(taken["index"], code[None])
        interpreter.invoke()
        results.append(
            (interpreter.get_tensor(given["index"])[0].astype(np.float32) - offset) * step
        )
    return np.array(results)


def test_a_model_with_dead_filters_and_activations_is_exported() -> None:
    model = model_of(lambda x: conv(conv(x, activation="relu", name="dead"), name="blind"))
    kernels = KerasModel(model).kernel_variables()
    kernels["dead"].assign(np.where(np.arange(6) == 2, 0, kernels["dead"].numpy()))
    model.get_layer("dead").bias.assign(np.full(6, -99))
    kernels["blind"].assign(np.zeros((3, 3, 6, 6)))
    quantized = qat.quantizable(model, SEEN)
    given = outputs_of(convert(quantized, "int8").content)
    np.testing.assert_allclose(given, simulated(quantized), atol=0.01)
    np.testing.assert_allclose(given[0, 0, 0], model.get_layer("blind").bias, atol=0.01)


@pytest.mark.parametrize("block", ["conv, relu", "conv, norm, relu", "depthwise", "dense, relu"])
def test_every_kernel_is_rounded_in_training(block: str) -> None:
    quantized = qat.quantizable(model_of(BLOCKS[block]), SEEN)
    before, rounded = simulated(quantized), 0
    for variable in quantized.trainable_variables:
        if "kernel" in variable.name:
            w = variable.numpy()
            axes = tuple(range(w.ndim - 1)) if w.ndim == 4 else None
            axes = (0, 1) if "depthwise" in variable.name else axes
            step = np.abs(w).max(axis=axes, keepdims=True) / 127
            variable.assign(np.round(w / step) * step)
            assert np.any(variable.numpy() != w)
            rounded += 1
    assert rounded
    np.testing.assert_allclose(simulated(quantized), before, atol=1e-5)


def test_activation_ranges_start_at_their_float_ranges() -> None:
    model = residual().keras
    found = quantizers(qat.quantizable(model, SEEN))
    layers = {layer.name: layer for layer in model.layers}
    before = keras().Model(model.input, layers["separable"].input)(SEEN)
    kernel = layers["separable"].depthwise_kernel
    expected = {
        "quant_separable_depthwise": keras().ops.depthwise_conv(before, kernel, padding="same"),
    } | {
        f"quant_{name}": keras().Model(model.input, layers[name].output)(SEEN)
        for name in ("depthwise", "separable", "scores")
    }
    for name, values in expected.items():
        ends = [float(found[f"{name}/post_activation_{end}:0"]) for end in ("min", "max")]
        np.testing.assert_allclose(
            ends, [min(np.min(values), 0), max(np.max(values), 0)], rtol=1e-4, err_msg=name
        )


def test_the_range_before_an_activation_is_the_range_of_its_input() -> None:
    model = model_of(lambda x: conv(x, activation="sigmoid", name="conv"))
    found = quantizers(qat.quantizable(model, SEEN))
    scores = np.array(model(SEEN))
    sums = np.log(scores / (1 - scores))
    ends = [float(found[f"quant_conv/pre_activation_{end}:0"]) for end in ("min", "max")]
    np.testing.assert_allclose(ends, [sums.min(), sums.max()], rtol=1e-3)


def test_set_kernel_ranges_uses_the_current_kernels() -> None:
    quantized = qat.quantizable(residual().keras, SEEN)
    kernels = {v.name: v for v in quantized.trainable_variables if "kernel" in v.name}
    for variable in kernels.values():
        variable.assign(variable * 3)
    qat.set_kernel_ranges(quantized)
    found = {name: v.numpy() for name, v in quantizers(quantized).items() if "kernel" in name}
    assert len(found) == 2 * len(kernels) == 10
    for name, variable in kernels.items():
        w = np.abs(variable.numpy())
        layer, attribute = name.split(":")[0].rsplit("/", 2)[-2:]
        most = found[f"quant_{layer}/{attribute}_max:0"]
        whole = w.reshape(-1, most.size) if most.ndim else w.reshape(-1, 1)
        np.testing.assert_allclose(most.ravel(), whole.max(axis=0))
        np.testing.assert_array_equal(found[f"quant_{layer}/{attribute}_min:0"], -most)


def trained(model: KerasModel) -> dict[str, np.ndarray]:
    """Kernels after a few large training steps: name of the layer that tfmot creates -> kernel."""
    quantized = qat.quantizable(model.keras, SEEN)
    optimizer = bridge.tf_keras().optimizers.SGD(0.05, momentum=0.9, weight_decay=0.01)
    quantized.compile(optimizer, loss="mse")
    quantized.fit(SEEN, np.random.default_rng(1).normal(size=(60, 3)), epochs=2, verbose=0)
    kernels = [v for v in quantized.trainable_variables if "kernel" in v.name]
    return {v.name.split("/")[0]: v.numpy() for v in kernels}


NAMES = {
    "first": "first",
    "depthwise": "depthwise/depthwise_kernel",
    "separable_depthwise": "separable/depthwise_kernel",
    "separable": "separable/pointwise_kernel",
    "scores": "scores",
}


def test_training_keeps_zeros_and_changes_other_weights_of_every_kernel() -> None:
    model = with_holes(residual(), 0.4)
    after = {NAMES[name]: w for name, w in trained(model).items()}
    for name, w in model.kernels().items():
        np.testing.assert_array_equal(after[name] == 0, w == 0, err_msg=name)
        assert np.mean(after[name][w != 0] == w[w != 0]) < 0.05, name


def test_training_keeps_clusters_and_zeros_and_changes_cluster_values() -> None:
    model = with_holes(residual(), 0.3)
    for variable in model.kernel_variables().values():
        variable.assign(nearest(variable.numpy(), np.array([-0.2, -0.05, 0.05, 0.2])))
    after = {NAMES[name]: w for name, w in trained(model).items()}
    for name, w in model.kernels().items():
        np.testing.assert_array_equal(after[name] == 0, w == 0, err_msg=name)
        for value in np.unique(w[w != 0]):
            assert len(np.unique(after[name][w == value])) == 1, name
            assert after[name][w == value][0] != value, name


def test_constraint_of_the_model_itself_still_holds() -> None:
    unit = keras().constraints.UnitNorm(axis=(0, 1, 2))
    k = keras().layers
    image = k.Input(IMAGE)
    x = k.GlobalAveragePooling2D()(k.Conv2D(3, 3, kernel_constraint=unit, name="unit")(image))
    model = KerasModel(keras().Model(image, x))
    variable = model.kernel_variables()["unit"]
    variable.assign(np.where(np.arange(81).reshape(3, 3, 3, 3) % 5, variable.numpy(), 0))
    after = trained(model)["unit"]
    assert np.sum(after == 0) == 17
    np.testing.assert_allclose(np.linalg.norm(after.reshape(-1, 3), axis=0), 1, rtol=1e-5)


def test_training_does_not_change_the_incoming_model() -> None:
    model = with_holes(residual(), 0.4)
    before = model.digest
    trained(model)
    assert model.digest == before


def test_ranges_and_counters_are_variables_that_a_checkpoint_saves() -> None:
    quantized = qat.quantizable(residual().keras, SEEN)
    kept = {id(v) for v in quantized.variables}
    assert all(id(v) in kept for v in quantizers(quantized).values())
    assert len(quantizers(quantized)) >= 2 * 5
    assert sum("calls" in v.name for v in quantized.variables) == 1


def test_layers_with_default_keras_names_are_quantizable() -> None:
    k = backend.keras().layers
    backend.keras().utils.clear_session()
    model = backend.keras().Sequential(
        [
            k.Input((8, 8, 3)),
            k.Flatten(),
            k.Dense(5, activation="relu"),
            k.Dense(3, activation="softmax"),
        ]
    )
    assert [layer.name for layer in model.layers][-2:] == ["dense", "dense_1"]
    images = np.zeros((2, 8, 8, 3), np.float32)
    for _ in range(2):
        assert gives_probabilities(qat.quantizable(model, images))
