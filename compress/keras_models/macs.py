"""Count the multiply-accumulates of the layers of a Keras model from their kernels and calls."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from compress import backend
from compress.keras_models.graph import graph_of
from compress.keras_models.layer_kinds import kind_of
from compress.keras_models.layers import is_channels_last, kernel_names


def macs_by_layer(model: Any) -> dict[str, int | None]:
    """Layer name -> multiply-accumulates of all its calls for one image, in layer order; None if a dimension is None.

    A layer of a model inside the model is called "model/layer".
    """
    calls = Counter(call.layer.name for call in graph_of(model).calls)
    macs: dict[str, int | None] = {}
    for layer in model.layers:
        if isinstance(layer, backend.keras().Model):
            macs |= {f"{layer.name}/{name}": count for name, count in macs_by_layer(layer).items()}
        else:
            one_call = macs_of_a_call(layer)
            macs[layer.name] = None if one_call is None else one_call * calls[layer.name]
    return macs


def macs_of_a_call(layer: Any) -> int | None:
    """Multiply-accumulates of one call for one image: positions times kernel weights. None if a dimension is None."""
    names = kernel_names(layer).values()
    if not names:
        return 0
    # A transposed convolution multiplies at every input position, all other layers at every output position.
    shape = getattr(layer, kind_of(layer).macs_over).shape
    positions = shape[1:-1] if is_channels_last(layer) else shape[2:]
    if None in positions:
        return None
    return math.prod(positions) * sum(math.prod(getattr(layer, name).shape) for name in names)
