"""Size of the slim file of a model in a number format, from its weights alone: without data and without training."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from compress.keras_models.model import KerasModel
from compress.quantization import int4
from compress.tflite.convert import converted
from compress.tflite.slim import slim

_INPUTS = 4


def bytes_of(model: KerasModel, scheme: str, coarse: Collection[str] = ()) -> int:
    """Bytes of the slim file of a model.

    Args:
      scheme: "int4", or one of `tflite.convert.SCHEMES`.
      coarse: with int4, the kernels that are stored in 4 bits.
    """
    return len(slim(stored(model, scheme, coarse), int4_bias_scales=False))


def stored(model: KerasModel, scheme: str, coarse: Collection[str] = ()) -> bytes:
    """A file of the size of the model's own, not slimmed. Ranges are read off random inputs, which changes no size.

    Args:
      scheme: "int4", or one of `tflite.convert.SCHEMES`.
      coarse: with int4, the kernels that are stored in 4 bits.
    """
    inputs = np.random.default_rng(0).random((_INPUTS, *model.input_shape), np.float32)
    if scheme == "int4":
        return int4.trial(model, coarse, inputs)
    return converted(model.keras, scheme, inputs)
