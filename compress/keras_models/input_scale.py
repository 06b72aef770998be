"""Find the pixel range that a model expects, as far as its first layers show it."""

from __future__ import annotations

from typing import Any

import numpy as np

from compress import backend
from compress.keras_models.graph import graph_of, is_readable
from compress.keras_models.layer_kinds import kind_of

# A first Rescaling layer with a scale up to this takes raw pixels; one with a larger scale takes scaled pixels.
LARGEST_RESCALING = 1 / 32
# A first Normalization layer takes raw pixels if its largest mean or standard deviation is at least this.
LEAST_STATISTIC = 8


def takes_raw_pixels(model: Any) -> bool:
    """True if the first layer of a Keras model takes pixels from 0 to 255: see `raw_pixel_layer`."""
    return raw_pixel_layer(model) is not None


def raw_pixel_layer(model: Any) -> str | None:
    """The class name of the first layer of a Keras model, if that layer takes pixels from 0 to 255; otherwise None.

    A Rescaling layer takes such pixels if its scale is at most 1/32, for example 1/255. A Normalization layer takes
    them if its largest mean or standard deviation is at least 8, as for pixels up to 255.
    """
    if not is_readable(model):
        return None
    graph = graph_of(model)
    pixels = graph.inputs[0]
    # Pixels are followed only as long as exactly one call takes them.
    while len(users := graph.users.get(id(pixels), [])) == 1:
        (call,) = users
        kind, keras = kind_of(call.layer), backend.keras()
        if kind.affine in _TAKE_RAW:
            return type(call.layer).__name__ if _TAKE_RAW[kind.affine](call.layer) else None
        if isinstance(call.layer, keras.Model):
            return raw_pixel_layer(call.layer)
        if not kind.moves_pixels and isinstance(call.layer, keras.layers.Layer):
            return None  # an operation, such as image[..., ::-1], is followed
        pixels = call.outputs[0]
    return None


def _rescales(layer: Any) -> bool:
    return bool(np.all(np.abs(layer.scale) <= LARGEST_RESCALING))


def _normalizes(layer: Any) -> bool:
    if layer.invert or layer.mean is None:
        return False
    mean, variance = np.array(layer.mean), np.array(layer.variance)
    return bool(max(np.abs(mean).max(), np.sqrt(variance).max()) >= LEAST_STATISTIC)


_TAKE_RAW = {"rescaling": _rescales, "normalization": _normalizes}
