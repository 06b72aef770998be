"""Convert a Keras 3 or tf_keras model to .tflite, in one of several number formats."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from compress import backend
from compress.tflite.model import TFLiteModel
from compress.tflite.slim_proof import slim_export

# Version of the export. Raise it when exported files change: this makes saved runs stale.
EXPORT_VERSION = 2
# In the scheme "dynamic", the converter leaves smaller kernels in float32, because they save too little.
LEAST_QUANTIZED = 1024  # weights


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """A number format of the file. All code that gets a scheme by name reads its properties here."""

    kernels: Literal["float32", "float16", "int8"]
    small_kernels_stay: bool = False  # in float32, if smaller than LEAST_QUANTIZED
    operators: str = ""  # the converter's set of operators that compute in integers; empty: float32
    interface: Literal["float32", "int8", "int16"] = "float32"  # type of the input and the output

    @property
    def needs_calibration(self) -> bool:
        """True if activations are computed in integers, so their ranges are read from calibration images."""
        return bool(self.operators)

    def holds(self, kernel: np.ndarray) -> bool:
        """True if a kernel that was read back from a file is stored in this format."""
        if self.kernels == "int8":
            small = self.small_kernels_stay and kernel.size < LEAST_QUANTIZED
            return small or kernel.dtype.kind == "i"
        return np.array_equal(kernel, kernel.astype(self.kernels))


_INT8 = "TFLITE_BUILTINS_INT8"
_INT16 = "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"
SCHEMES: Mapping[str, Scheme] = {
    "float32": Scheme(kernels="float32"),
    "int8": Scheme(kernels="int8", operators=_INT8, interface="int8"),
    "int8-float-io": Scheme(kernels="int8", operators=_INT8),
    "int16x8": Scheme(kernels="int8", operators=_INT16, interface="int16"),
    "float16": Scheme(kernels="float16"),
    "dynamic": Scheme(kernels="int8", small_kernels_stay=True),
}


def convert(model: Any, scheme: str, calibration: np.ndarray | None = None) -> TFLiteModel:
    """Convert a Keras 3 or tf_keras model to a slim `.tflite` file; see `KerasModel.to_tflite` and `converted`."""
    return slim_export(converted(model, scheme, calibration), calibration)


def converted(model: Any, scheme: str, calibration: np.ndarray | None = None) -> bytes:
    """The file as the converter writes it, with the names of all tensors.

    Without `calibration`, "int8" uses the ranges that the model was trained with. Layers without ranges stay float.
    """
    tf = backend.tensorflow()
    form = SCHEMES[scheme]
    signature = tf.TensorSpec([1, *model.input_shape[1:]], tf.float32, name="image")
    function = tf.function(lambda image: model(image, training=False))
    with backend.stderr_held_back(), warnings.catch_warnings():
        # The converter warns about missing input statistics, which calibration and trained ranges replace.
        warnings.filterwarnings("ignore", "Statistics for quantized inputs were expected")
        concrete = function.get_concrete_function(signature)
        # The model is not passed as second argument: after training in this process, variables would stay in the file.
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
        if form.kernels != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if form.kernels == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if form.needs_calibration:
            if calibration is not None:
                converter.representative_dataset = lambda: ([image[None]] for image in calibration)
                converter.target_spec.supported_ops = [getattr(tf.lite.OpsSet, form.operators)]
            interface = getattr(tf, form.interface)
            converter.inference_input_type = converter.inference_output_type = interface
        return bytes(converter.convert())
