"""A model of Keras 3 or tf_keras as .tflite."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np

from compress import backend
from compress.tflite.model import TFLiteModel

# Version of the export. A change of it makes saved runs stale: raise it when files come out different.
EXPORT_VERSION = 1


Scheme = Literal["float32", "float16", "dynamic", "int8", "int16x8"]


# Which kernels an integer scheme may use, and the type of its input and output.
_INTEGER = {
    "int8": ("TFLITE_BUILTINS_INT8", "int8"),
    "int16x8": ("EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8", "int16"),
}


def convert(model: Any, scheme: Scheme, calibration: np.ndarray | None = None) -> TFLiteModel:
    """A model of Keras 3 or tf_keras as `.tflite`; see `KerasModel.to_tflite`.

    Without `calibration`, "int8" takes the ranges that the model was trained with; layers without ranges stay float.
    """
    tf = backend.tensorflow()
    signature = tf.TensorSpec([1, *model.input_shape[1:]], tf.float32, name="image")
    function = tf.function(lambda image: model(image, training=False))
    with backend.stderr_held_back(), warnings.catch_warnings():
        # The converter warns of missing input statistics, which calibration and trained ranges replace.
        warnings.filterwarnings("ignore", "Statistics for quantized inputs were expected")
        concrete = function.get_concrete_function(signature)
        # Without the model as second argument: with it, a model trained in this process keeps variables in the file.
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
        if scheme != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if scheme == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if scheme in _INTEGER:
            ops, kind = _INTEGER[scheme]
            if calibration is not None:
                converter.representative_dataset = lambda: ([image[None]] for image in calibration)
                converter.target_spec.supported_ops = [getattr(tf.lite.OpsSet, ops)]
            converter.inference_input_type = converter.inference_output_type = getattr(tf, kind)
        return TFLiteModel(converter.convert())
