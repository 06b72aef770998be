"""Predicted sizes are close to those of the files that export and quantize write; parameters and MACs are exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from baselines.cifar10.networks import plain
from baselines.cifar10.networks.airbench import Airbench
from baselines.cifar10.networks.resnet import ResNet
from compress import backend
from compress.keras_models.model import KerasModel
from compress.measurement.layer_table import layer_table
from compress.measurement.predicted_size import (
    GRAPH_BYTES,
    KERNEL_BYTES,
    KernelSize,
    Scheme,
    file_bytes,
    predicted_size,
)
from compress.quantization import int4
from compress.tflite import contents
from compress.tflite.model import TFLiteModel

RNG = np.random.default_rng(0)
IMAGES = RNG.random((2, 32, 32, 3), dtype=np.float32)
# Bytes of the files that were written from these networks with random weights.
WRITTEN = {
    "plain, width 1": (lambda: plain.build(), 472_992, 127_360, 67_504),
    "plain, width 0.5": (lambda: plain.build(width=0.5), 122_176, 36_432, 20_880),
    "resnet 16-32-64": (lambda: ResNet().build(), 702_256, 187_248, 97_616),
    "resnet 8-16-32": (lambda: ResNet(widths=(8, 16, 32)).build(), 179_824, 53_088, 29_792),
    "resnet 16-32-64, depth 20": (lambda: ResNet(depth=20).build(), 1_091_168, 288_304, 149_312),
}


def trained(model: Any) -> KerasModel:
    """The model with random statistics and biases, as after training: no two vectors are equal."""
    for weight in model.weights:
        if len(weight.shape) == 1:
            drawn = RNG.normal(0, 0.1, weight.shape)
            around = 1 if weight.name in ("gamma", "moving_variance") else 0
            weight.assign((around + drawn).astype(np.float32))
    return KerasModel(model)


def convert(model: KerasModel, scheme: Scheme) -> TFLiteModel:
    if scheme == "int4":
        names = [n for n in model.kernel_variables() if not n.endswith("/depthwise_kernel")]
        return int4.export(model, names, IMAGES)
    return model.to_tflite(scheme, IMAGES)


@pytest.fixture(scope="module")
def tiny() -> KerasModel:
    return trained(ResNet(widths=(8, 16, 32), depth=8).build())


@pytest.mark.parametrize("scheme", ["float32", "int8", "int4"])
def test_predicted_bytes_are_within_1_5_percent_of_the_written_file(
    tiny: KerasModel, scheme: Scheme
) -> None:
    file = convert(tiny, scheme)
    predicted = getattr(predicted_size(tiny), f"{scheme}_bytes")
    assert predicted == pytest.approx(len(file.content), rel=0.015)
    assert predicted_size(tiny).params == contents.stored_params(
        contents.stored_tensors(file.content)
    )
    assert predicted_size(tiny).macs == layer_table(file)[-1]["macs"]


@pytest.mark.parametrize("scheme", ["float32", "int8", "int4"])
def test_predicted_bytes_of_depthwise_kernels_are_close_to_the_written_file(scheme: Scheme) -> None:
    keras = backend.keras()
    image = keras.Input((32, 32, 3))
    x = keras.layers.SeparableConv2D(12, 3, depth_multiplier=2, name="separable")(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    x = keras.layers.Conv2D(16, 3, name="conv")(x)
    x = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x))
    model = trained(keras.Model(image, x))
    file, predicted = convert(model, scheme), predicted_size(model)
    weights = 9 * 3 * 2 + 6 * 12 + 9 * 12 * 2 + 9 * 24 * 16 + 160
    assert predicted.params == weights + 6 + 12 + 24 + 16 + 10
    assert getattr(predicted, f"{scheme}_bytes") == pytest.approx(len(file.content), rel=0.05)


@pytest.mark.parametrize("name", WRITTEN)
def test_recorded_file_sizes_are_predicted_within_1_percent(name: str) -> None:
    build: Callable[[], Any]
    build, *sizes = WRITTEN[name]
    predicted = predicted_size(KerasModel(build()))
    found = [predicted.float32_bytes, predicted.int8_bytes, predicted.int4_bytes]
    assert found == pytest.approx(sizes, rel=0.01)


def test_resnet_14_has_its_published_weights_and_macs() -> None:
    predicted = predicted_size(KerasModel(ResNet().build()))
    assert (predicted.params, predicted.macs) == (174_698, 26_657_408)


def test_file_bytes_counts_weights_scales_and_zero_points_of_each_scheme() -> None:
    kernel = KernelSize(weights=4_000, channels=100)
    bare = {s: file_bytes([kernel], s) - KERNEL_BYTES[s] - GRAPH_BYTES for s in KERNEL_BYTES}
    assert bare == {"float32": 16_400, "int8": 4_000 + 2_000, "int4": 2_000 + 1_600}
    wide = KernelSize(weights=4_000, channels=100, depthwise=True)
    dense = KernelSize(weights=4_000, channels=100, dense=True)
    assert file_bytes([wide], "int4") - file_bytes([dense], "int4") == 2_000
    assert file_bytes([dense], "int4") - file_bytes([kernel], "int4") == 400
    # The vector of zero points for this number of channels is shared.
    assert (
        file_bytes([kernel, kernel], "int8") - file_bytes([kernel], "int8")
        == 5_200 + KERNEL_BYTES["int8"]
    )


def test_an_unfolded_normalization_counts_a_scale_and_a_shift_per_channel() -> None:
    predicted = predicted_size(KerasModel(Airbench().build()))
    unfolded, folded = 64 + 256 + 256, 64 + 256 + 256
    weights = 288 + 50_688 + 737_280 + 1_179_648 + 2_560
    assert predicted.params == weights + 24 + folded + 2 * unfolded
    assert predicted.macs == 118_147_360


@pytest.mark.parametrize("scheme", ["float32", "int8", "int4"])
def test_predicted_bytes_of_unfolded_normalizations_are_close_to_the_written_file(
    scheme: Scheme,
) -> None:
    network = trained(Airbench(widths=(8, 16, 12)).build())
    for kernel in network.kernel_variables().values():  # Dirac kernels may be equal
        kernel.assign(kernel + RNG.normal(0, 0.1, kernel.shape).astype(np.float32))
    predicted = getattr(predicted_size(network), f"{scheme}_bytes")
    assert predicted == pytest.approx(len(convert(network, scheme).content), rel=0.015)


def test_layers_of_a_nested_model_are_counted() -> None:
    keras = backend.keras()
    image = keras.Input((32, 32, 3))
    inner = ResNet(widths=(1, 1, 1), depth=8).build()
    outer = predicted_size(KerasModel(keras.Model(image, inner(image))))
    assert outer == predicted_size(KerasModel(inner))


def test_an_open_image_size_is_refused() -> None:
    keras = backend.keras()
    image = keras.Input((None, None, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3)(image))
    with pytest.raises(ValueError, match="takes images of any size: build it for one image shape"):
        predicted_size(KerasModel(keras.Model(image, pooled)))
