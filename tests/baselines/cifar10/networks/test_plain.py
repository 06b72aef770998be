"""The baseline CNN is the published one, parameter by parameter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from baselines.cifar10.networks import plain
from compress import backend

# The published table: parameters per block, BatchNormalization statistics included.
PUBLISHED = {
    "block 1": (("conv1a", "norm1", "conv1b"), 5_976),
    "block 2": (("conv2a", "norm2", "conv2b"), 31_392),
    "block 3": (("conv3a", "norm3", "conv3b"), 71_400),
    "dense": (("dense",), 8_280),
    "logits": (("logits",), 1_210),
}


@pytest.fixture(scope="module")
def model() -> Any:
    return plain.build()


@pytest.mark.parametrize("block", PUBLISHED)
def test_block_has_its_published_parameters(model: Any, block: str) -> None:
    names, expected = PUBLISHED[block]
    assert sum(model.get_layer(n).count_params() for n in names) == expected


def test_total_is_published_and_within_budget(model: Any) -> None:
    assert model.count_params() == sum(n for _, n in PUBLISHED.values()) == 118_258
    assert model.count_params() <= plain.BUDGET == 122_000


def test_every_parameter_is_in_the_published_table(model: Any) -> None:
    listed = {name for names, _ in PUBLISHED.values() for name in names}
    assert {layer.name for layer in model.layers if layer.count_params()} == listed


def test_normalization_follows_its_convolution_directly(model: Any) -> None:
    layers = [type(layer).__name__ for layer in model.layers]
    for index, kind in enumerate(layers):
        if kind == "BatchNormalization":
            assert layers[index - 1] == "Conv2D"
            assert model.layers[index - 1].activation.__name__ == "linear"
            assert layers[index + 1] == "ReLU"


def test_dropout_follows_each_block_and_the_first_dense(model: Any) -> None:
    rates = [layer.rate for layer in model.layers if type(layer).__name__ == "Dropout"]
    assert rates == [0.3, 0.35, 0.4, 0.4]
    off = plain.build(dropout=0.0)
    assert {layer.rate for layer in off.layers if type(layer).__name__ == "Dropout"} == {0.0}


@pytest.mark.parametrize(
    ("width", "filters", "units"), [(0.5, [12, 24, 34], 60), (0.01, [1, 1, 1], 1)]
)
def test_width_scales_every_layer_but_the_last(
    width: float, filters: list[int], units: int
) -> None:
    student = plain.build(width=width)
    assert [student.get_layer(f"conv{b}{s}").filters for b in (1, 2, 3) for s in "ab"] == [
        f for f in filters for _ in "ab"
    ]
    assert student.get_layer("dense").units == units
    assert student.output_shape == (None, 10)


def test_width_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="width: 0 is not in the range"):
        plain.build(width=0)


def test_the_network_gives_logits(model: Any) -> None:
    scores = np.array(model(np.zeros((2, 32, 32, 3), dtype=np.float32)))
    assert scores.shape == (2, 10)
    assert model.layers[-1].activation is backend.keras().activations.linear
