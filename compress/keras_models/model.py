"""KerasModel: a Keras 3 model, which a stage takes and gives."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from compress import backend
from compress.files import replacing
from compress.keras_models import layers
from compress.tflite.convert import SCHEMES, convert
from compress.tflite.model import TFLiteModel
from compress.weight_sharing import cluster_ids, cluster_projection


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
        """Layer name -> Keras variable of its kernel, in layer order. A stage assigns to the variables of its copy."""
        return layers.kernels(self.keras)

    def kernels(self) -> dict[str, np.ndarray]:
        """Layer name -> copy of its kernel, float32 in Keras axis order."""
        return {k: np.array(v) for k, v in self.kernel_variables().items()}

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of architecture and weights. The names of layers do not count."""
        sha = self._hashed_architecture()
        for weight in self.keras.get_weights():
            sha.update(str((weight.shape, weight.dtype)).encode() + weight.tobytes())
        return sha.hexdigest()

    @property
    def architecture_digest(self) -> str:
        """SHA-256, in hex, of the architecture alone, as in `digest`."""
        return self._hashed_architecture().hexdigest()

    def _hashed_architecture(self) -> hashlib._Hash:
        sha = hashlib.sha256()
        for layer in self.keras.layers:
            config = {k: v for k, v in layer.get_config().items() if k != "name"}
            sha.update(
                json.dumps([type(layer).__name__, config], sort_keys=True, default=str).encode()
            )
        if calls := _calls(self.keras):
            sha.update(json.dumps(calls, sort_keys=True, default=str).encode())
        return sha

    def copy(self) -> KerasModel:
        """A copy of the model: the same layers and weights in new variables."""
        keras = backend.keras()
        twin = keras.models.clone_model(self.keras, clone_function=layers.copy_of)
        twin.set_weights(self.keras.get_weights())
        for layer in layers.every_layer(twin):
            if type(layer) is keras.layers.Normalization:
                layers.give_weights(layer, layer.get_weights())
        return KerasModel(twin)

    def trainable_copy(self) -> KerasModel:
        """A copy for training: zero weights of kernels stay zero, and shared values stay shared."""
        result = self.copy()
        for variable in result.kernel_variables().values():
            keep_zeros_and_shared(variable)
        return result

    def save(self, path: Path) -> None:
        """Write a complete `.keras` file, or leave `path` unchanged. Optimizer state is not saved."""
        with replacing(path) as temporary:
            self.keras.save(temporary, include_optimizer=False)

    def to_tflite(
        self, scheme: str = "float32", calibration: np.ndarray | None = None
    ) -> TFLiteModel:
        """Export as a `.tflite` file that takes one image: [1, h, w, c].

        Args:
          scheme: a number format of `tflite.convert.SCHEMES`.
          calibration: float32 [n, h, w, c], images as the model sees them. A scheme that computes in integers reads the
            ranges of activations from them.

        Raises:
          ValueError: there is no such scheme, or the scheme computes in integers and `calibration` is missing.
        """
        if scheme not in SCHEMES:
            raise ValueError(
                f"no scheme {scheme!r:.40} to export as; expected {', '.join(SCHEMES)}."
            )
        if SCHEMES[scheme].needs_calibration and calibration is None:
            raise ValueError(f"export as {scheme} needs images to calibrate by.")
        return convert(self.keras, scheme, calibration)


def keep_zeros_and_shared(variable: Any) -> None:
    """Constrain a Keras variable so that training keeps zero weights at zero and shared values shared."""
    clusters, own, ops = cluster_ids(np.array(variable)), variable.constraint, backend.keras().ops
    if clusters.max() == clusters.size:
        return  # neither zeros nor equal weights
    project = cluster_projection(clusters, ops.take, ops.segment_sum)

    def projected(w: Any) -> Any:
        return ops.reshape(project(ops.reshape(w, (-1,))), clusters.shape)

    # Keras applies a variable's constraint after each step.
    variable.constraint = lambda w: projected(own(projected(w)) if own else w)


def _calls(model: Any) -> list[Any]:
    """The calls of a functional model; [] if each layer takes only the output of the layer before it.

    For each layer or operation: its class, its configuration if it is an operation, and the arguments of each call. A
    tensor among the arguments is [index of the layer that gives it, number of the call, number of the output].
    """
    if type(model).__name__ != "Functional":
        return []
    # graph_of is not used: digests are in the keys of saved runs, so they follow the form that Keras writes to files.
    steps = model.get_config()["layers"]
    place = {step["name"]: number for number, step in enumerate(steps)}

    def placed(value: Any) -> Any:
        if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            name, *which = value["config"]["keras_history"]
            return [place[name], *which]
        if isinstance(value, dict):
            # The call of the whole model overrides these two arguments.
            return {k: placed(v) for k, v in value.items() if k not in ("training", "mask")}
        return [placed(v) for v in value] if isinstance(value, list | tuple) else value

    rows, plain = [], True
    for number, step in enumerate(steps):
        layer = step["module"] == "keras.layers"
        own = {} if layer else {k: v for k, v in step["config"].items() if k != "name"}
        arguments = [placed([node["args"], node["kwargs"]]) for node in step["inbound_nodes"]]
        rows.append([step["class_name"], own, arguments])
        plain &= layer and [args for args, _ in arguments] == (
            [[[number - 1, 0, 0]]] if number else []
        )
    return [] if plain else rows
