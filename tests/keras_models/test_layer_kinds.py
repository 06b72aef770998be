"""The table of layer kinds agrees with Keras's layer classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compress import backend
from compress.keras_models.layer_kinds import KINDS, kind_of
from compress.keras_models.layers import is_channels_last, kernel_names
from compress.pruning.layer_rules import RULES

CHANNELS, FILTERS, MULTIPLIER = 6, 5, 2
WITH_KERNELS = {name: kind for name, kind in KINDS.items() if kind.kernels}


def built(name: str) -> Any:
    """A built layer of that kind on 6 channels, with 5 filters or, if depthwise, 2 for each channel."""
    cls, kind = getattr(backend.keras().layers, name), KINDS[name]
    places = (8, 8) if name.endswith(("2D", "2DTranspose")) else (8,) if "1D" in name else ()
    words: dict[str, Any] = {"kernel_size": 3} if places else {}
    if not kind.kernels[-1].depthwise:
        words[kind.size] = FILTERS
    if kind.kernels[0].depthwise:
        words["depth_multiplier"] = MULTIPLIER
    layer = cls(name="layer", **words)
    layer(backend.keras().Input((*places, CHANNELS)))
    return layer


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_a_keras_class_with_a_known_channel_rule(name: str) -> None:
    assert isinstance(getattr(backend.keras().layers, name), type)
    assert KINDS[name].channels is None or KINDS[name].channels in RULES


@pytest.mark.parametrize("name", WITH_KERNELS)
def test_kernels_have_the_axes_of_the_table(name: str) -> None:
    layer, kind = built(name), KINDS[name]
    channels = CHANNELS
    for kernel in kind.kernels:
        shape = getattr(layer, kernel.attribute).shape
        assert shape[kernel.inputs] == channels
        channels = channels * MULTIPLIER if kernel.depthwise else FILTERS
        outputs = shape[-2:] if kernel.depthwise else [shape[kernel.outputs]]
        assert np.prod(outputs) == channels
    assert layer.output.shape[-1] == channels


@pytest.mark.parametrize("name", WITH_KERNELS)
def test_weights_are_the_kernels_in_table_order_and_then_the_bias(name: str) -> None:
    layer, kind = built(name), KINDS[name]
    expected = [getattr(layer, kernel.attribute) for kernel in kind.kernels]
    assert [id(w) for w in layer.weights] == [id(w) for w in (*expected, layer.bias)]
    assert len(kernel_names(layer)) == len(kind.kernels)


def test_a_class_outside_the_table_has_no_kernels_and_no_rules() -> None:
    class Own(backend.keras().layers.Layer):
        pass

    kind = kind_of(Own())
    assert kind.kernels == ()
    assert (kind.channels, kind.affine, kind.commutes, kind.keras2) == (None,) * 4
    assert kernel_names(Own()) == {}


@pytest.mark.parametrize(
    ("words", "last"), [({}, True), ({"data_format": "channels_first"}, False)]
)
def test_is_channels_last_follows_the_data_format(words: dict[str, str], last: bool) -> None:
    assert is_channels_last(backend.keras().layers.Conv2D(2, 3, **words)) == last
    assert is_channels_last(backend.keras().layers.ReLU())
