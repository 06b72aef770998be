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


def as_if_trained(model: KerasModel) -> KerasModel:
    """The model with other numbers in weights that are all one number, as biases are before training.

    Two of them would be equal, and a slim file has equal vectors once.
    """
    weights = model.keras.get_weights()
    constant = [w.size > 1 and bool((w == w.flat[0]).all()) for w in weights]
    if not any(constant):
        return model
    other, rng = model.copy(), np.random.default_rng(0)
    other.keras.set_weights(
        [
            w + rng.uniform(0.1, 0.2, w.shape).astype(w.dtype) if same else w
            for w, same in zip(weights, constant, strict=True)
        ]
    )
    return other
