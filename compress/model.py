"""KerasModel and TFLiteModel: what stages map and measure() reads."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from compress import backend, layers
from compress.store import replacing, write_bytes


@dataclass(frozen=True)
class TFLiteModel:
    """The content of a `.tflite` file: what would be shipped."""

    format: ClassVar = "tflite"
    content: bytes

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file, in hex."""
        return hashlib.sha256(self.content).hexdigest()

    def save(self, path: Path) -> None:
        """Write the file whole, or leave `path` as it was."""
        write_bytes(path, self.content)

    @classmethod
    def load(cls, path: Path) -> TFLiteModel:
        """Read a `.tflite` file. ValueError if it is not one."""
        content = path.read_bytes()
        if content[4:8] != b"TFL3":
            raise ValueError(f"{path} is not a TFLite file (no TFL3 mark at byte 4).")
        return cls(content)


@dataclass(frozen=True)
class KerasModel:
    """A Keras 3 model, float32."""

    format: ClassVar = "keras"
    keras: Any

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch axis: [h, w, c]."""
        return tuple(self.keras.input_shape[1:])

    @property
    def classes(self) -> int:
        """Length of one output."""
        return int(self.keras.output_shape[-1])

    @property
    def params(self) -> int:
        """Number of parameters as Keras counts them, BatchNormalization statistics included."""
        return int(self.keras.count_params())

    def kernel_variables(self) -> dict[str, Any]:
        """Layer name -> Keras variable of its kernel, in layer order; for a stage to assign to in its own copy."""
        return layers.kernels(self.keras)

    def kernels(self) -> dict[str, np.ndarray]:
        """Layer name -> kernel, float32 in Keras axis order; copies."""
        return {k: np.array(v) for k, v in self.kernel_variables().items()}

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of architecture and weights; names given at random by Keras do not count."""
        sha = hashlib.sha256()
        for layer in self.keras.layers:
            config = {k: v for k, v in layer.get_config().items() if k != "name"}
            sha.update(
                json.dumps([type(layer).__name__, config], sort_keys=True, default=str).encode()
            )
        for weight in self.keras.get_weights():
            sha.update(str((weight.shape, weight.dtype)).encode() + weight.tobytes())
        return sha.hexdigest()

    def copy(self) -> KerasModel:
        """The same layers and weights in new variables."""
        twin = backend.keras().models.clone_model(self.keras)
        twin.set_weights(self.keras.get_weights())
        return KerasModel(twin)

    def trainable_copy(self) -> KerasModel:
        """A copy whose kernels' zero weights stay zero while it is trained."""
        result = self.copy()
        ops = backend.keras().ops
        for variable in result.kernel_variables().values():
            kept = np.array(variable) != 0
            # Keras applies a variable's constraint after each step.
            variable.constraint = lambda w, kept=kept: ops.where(kept, w, ops.zeros_like(w))
        return result

    def save(self, path: Path) -> None:
        """Write a `.keras` file whole, or leave `path` as it was. Optimizer state is not kept."""
        with replacing(path) as temporary:
            self.keras.save(temporary, include_optimizer=False)

    def to_tflite(self) -> TFLiteModel:
        """Export as float32 `.tflite` that takes one image: float32 [1, h, w, c]."""
        tf = backend.tensorflow()
        signature = tf.TensorSpec([1, *self.input_shape], tf.float32, name="image")
        function = tf.function(lambda image: self.keras(image, training=False))
        with backend.stderr_held_back():
            concrete = function.get_concrete_function(signature)
            # Not with the model as second argument: what was trained in this process would keep variables in the file.
            converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
            return TFLiteModel(converter.convert())
