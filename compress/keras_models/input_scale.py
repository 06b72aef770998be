"""How a model wants its pixels, as far as its first layers tell."""

from __future__ import annotations

from typing import Any

import numpy as np

from compress import backend
from compress.keras_models.graph import graph_of, is_readable
from compress.keras_models.layer_kinds import kind_of

# A first Rescaling layer by at most this much takes raw pixels; one by more takes some that were scaled before.
LARGEST_RESCALING = 1 / 32


def takes_raw_pixels(model: Any) -> bool:
    """Whether a Keras model begins with a Rescaling layer that brings 0 to 255 down to a few."""
    if not is_readable(model):
        return False
    graph = graph_of(model)
    pixels = graph.inputs[0]
    # Where there is a second way in, it sees other pixels.
    while len(users := graph.users.get(id(pixels), [])) == 1:
        (call,) = users
        kind, keras = kind_of(call.layer), backend.keras()
        if kind.affine == "rescaling":
            return bool(np.all(np.abs(call.layer.scale) <= LARGEST_RESCALING))
        if isinstance(call.layer, keras.Model):
            return takes_raw_pixels(call.layer)
        if not kind.moves_pixels and isinstance(call.layer, keras.layers.Layer):
            return False  # an operation, such as image[..., ::-1], is passed
        pixels = call.outputs[0]
    return False
