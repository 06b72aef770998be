"""The layers of a Keras model to which operators of its `.tflite` file belong."""

from __future__ import annotations

import re
from collections.abc import Iterable

from compress.keras_models.model import KerasModel
from compress.tflite.graph import Operator


def layers_of(
    operators: Iterable[Operator], model: KerasModel, prefix: str = ""
) -> tuple[str, ...]:
    """The names of the operators' layers, read from the names that the converter gives to tensors.

    Args:
      prefix: text that may precede the name of a layer in the name of a tensor.
    """
    # A tensor's name is a path that contains the name of the layer, as in tfmot or, in Keras, with a number appended.
    paths = [tensor.name for operator in operators for tensor in operator.outputs]
    parts = {part.removeprefix(prefix) for path in paths for part in re.split("[/;]", path)}
    parts |= {re.sub(r"_\d+$", "", part) for part in parts}
    return tuple(layer.name for layer in model.keras.layers if layer.name in parts)
