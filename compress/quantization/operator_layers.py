"""Which layers of a Keras model operators of its `.tflite` file belong to."""

from __future__ import annotations

import re
from collections.abc import Iterable

from compress.keras_models.model import KerasModel
from compress.tflite.graph import Operator


def layers_of(
    operators: Iterable[Operator], model: KerasModel, prefix: str = ""
) -> tuple[str, ...]:
    """The names of the layers, told by the names that the converter gives tensors.

    Args:
      prefix: what may stand before the name of a layer there.
    """
    # Such a name is a path that contains the name of the layer, as tfmot has it or as Keras has it with a number.
    paths = [tensor.name for operator in operators for tensor in operator.outputs]
    parts = {part.removeprefix(prefix) for path in paths for part in re.split("[/;]", path)}
    parts |= {re.sub(r"_\d+$", "", part) for part in parts}
    return tuple(layer.name for layer in model.keras.layers if layer.name in parts)
