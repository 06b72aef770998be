"""How a model wants its pixels, as far as its first layers tell."""

from __future__ import annotations

from typing import Any

import numpy as np

from compress import backend
from compress.keras_models.graph import graph_of, is_readable
from compress.keras_models.layer_kinds import kind_of

# A first Rescaling layer with a scale up to this takes raw pixels; one with a larger scale takes scaled pixels.
LARGEST_RESCALING = 1 / 32


def takes_raw_pixels(model: Any) -> bool:
    """Whether a Keras model begins with a Rescaling layer whose scale is at most 1/32, as 1/255 is."""
    if not is_readable(model):
        return False
    graph = graph_of(model)
    pixels = graph.inputs[0]
    # Pixels are followed only as long as one call alone takes them.
    while len(users := graph.users.get(id(pixels), [])) == 1:
        (call,) = users
        kind, keras = kind_of(call.layer), backend.keras()
        if kind.affine == "rescaling":
            return bool(np.all(np.abs(call.layer.scale) <= LARGEST_RESCALING))
        if isinstance(call.layer, keras.Model):
            return takes_raw_pixels(call.layer)
        if not kind.moves_pixels and isinstance(call.layer, keras.layers.Layer):
            return False  # an operation, such as image[..., ::-1], is followed
        pixels = call.outputs[0]
    return False
