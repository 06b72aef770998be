"""Size of a model's slim file in a number format, computed from the weights alone, without data or training."""

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
    """A file, not slimmed, as large as the exported one. Random inputs give its ranges, which do not change its size.

    Args:
      scheme: "int4", or one of `tflite.convert.SCHEMES`.
      coarse: with int4, the kernels that are stored in 4 bits.
    """
    inputs = np.random.default_rng(0).random((_INPUTS, *model.input_shape), np.float32)
    if scheme == "int4":
        return int4.trial(model, coarse, inputs)
    return converted(model.keras, scheme, inputs)


def as_if_trained(model: KerasModel) -> KerasModel:
    """The model with random numbers added to each weight array of equal numbers, such as a bias before training.

    A slim file stores equal vectors once, so untrained biases would make it too small.
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
