"""The ResNet has the published layers, weight by weight, and refuses invalid shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from baselines.cifar10.networks.resnet import ResNet
from compress.keras_models.model import KerasModel
from compress.measurement.layer_table import layer_table
from support.network_parts import weights_and_macs

# Part -> weights of its kernels, MACs: worked out by hand from the shapes.
PARTS = {
    "conv0": (9 * 3 * 16, 32 * 32 * 432),
    "conv1_": (4 * 9 * 16 * 16, 32 * 32 * 9_216),
    "conv2_": (9 * 16 * 32 + 3 * 9 * 32 * 32 + 16 * 32, 16 * 16 * 32_768),
    "conv3_": (9 * 32 * 64 + 3 * 9 * 64 * 64 + 32 * 64, 8 * 8 * 131_072),
    "logits": (64 * 10, 640),
}


@pytest.fixture(scope="module")
def model() -> Any:
    return ResNet().build()


@pytest.mark.parametrize("part", PARTS)
def test_part_has_its_weights_and_macs(model: Any, part: str) -> None:
    assert weights_and_macs(model, part) == PARTS[part]


def test_the_network_has_174698_weights_and_biases_and_26_66_million_macs(model: Any) -> None:
    kernels = KerasModel(model).kernels()
    biases = sum(kernel.shape[-1] for kernel in kernels.values())
    assert biases == 570
    assert sum(kernel.size for kernel in kernels.values()) + biases == 174_698
    assert layer_table(KerasModel(model))[-1]["macs"] == 26_657_408
    assert sum(weights for weights, _ in PARTS.values()) == 174_698 - 570


def test_every_convolution_has_no_bias_and_is_followed_by_its_normalization(model: Any) -> None:
    convolutions = [layer for layer in model.layers if type(layer).__name__ == "Conv2D"]
    assert len(convolutions) == 1 + 3 * 4 + 2
    for layer in convolutions:
        norm = model.get_layer(layer.name.replace("conv", "norm"))
        assert norm.input is layer.output
        assert not layer.use_bias
        assert layer.activation.__name__ == "linear"
        assert (norm.momentum, norm.epsilon) == (0.99, 1e-3)  # as in the baseline CNN


def test_only_the_first_blocks_of_stages_2_and_3_have_stride_2_and_a_shortcut_kernel(
    model: Any,
) -> None:
    strided = [n.name for n in model.layers if getattr(n, "strides", (1, 1)) == (2, 2)]
    assert sorted(strided) == ["conv2_1a", "conv2_1s", "conv3_1a", "conv3_1s"]
    assert model.get_layer("conv2_1s").kernel_size == (1, 1)
    assert [model.get_layer(f"add{s}_2").output.shape[1:] for s in (1, 2, 3)] == [
        (32, 32, 16),
        (16, 16, 32),
        (8, 8, 64),
    ]


def test_a_block_adds_before_its_last_relu(model: Any) -> None:
    for name in ("1_1", "2_1", "3_2"):
        assert model.get_layer(f"relu{name}b").input is model.get_layer(f"add{name}").output


def test_a_block_with_zero_convolutions_passes_its_input_through() -> None:
    small = ResNet(widths=(2, 2, 2), depth=8).build()
    for half in "ab":
        small.get_layer(f"conv1_1{half}").kernel.assign(np.zeros((3, 3, 2, 2), np.float32))
    inner = type(small)(small.input, [small.get_layer(n).output for n in ("relu0", "relu1_1b")])
    before, after = inner(np.random.default_rng(0).random((1, 32, 32, 3), np.float32))
    assert np.array_equal(before, after)
    assert np.any(np.array(before))


@pytest.mark.parametrize("depth", [8, 20])
def test_depth_counts_the_layers_on_the_longest_way(depth: int) -> None:
    small = ResNet(widths=(1, 2, 3), depth=depth).build()
    shortcuts = 2
    assert len(KerasModel(small).kernels()) - shortcuts == depth
    assert small.output_shape == (None, 10)


def test_the_network_gives_logits(model: Any) -> None:
    scores = np.array(model(np.zeros((2, 32, 32, 3), dtype=np.float32)))
    assert scores.shape == (2, 10)
    assert model.layers[-1].activation.__name__ == "linear"


@pytest.mark.parametrize("depth", [0, 2, 7, 15, -4, 206, True, "x"])
def test_an_invalid_depth_is_refused(depth: Any) -> None:
    with pytest.raises(ValueError, match=r"resnet: option 'depth': .* is not"):
        ResNet(depth=depth)


@pytest.mark.parametrize(
    "widths", [(16, 32), (16, 0, 64), (16, 32, 6.5), 16, (True, 2, 3), "abc", (1025, 1, 1)]
)
def test_widths_that_are_not_three_positive_numbers_are_refused(widths: Any) -> None:
    with pytest.raises(ValueError, match=r"resnet: option 'widths': .* is not 3 whole numbers"):
        ResNet(widths=widths)


def test_widths_from_json_equal_widths_from_a_tuple() -> None:
    assert ResNet(widths=[4, 8, 12]) == ResNet(widths=(4, 8, 12))  # type: ignore[arg-type]
