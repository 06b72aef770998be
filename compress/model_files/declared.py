"""Count the parameters and activations that an architecture declares, without allocating them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from compress import backend

Config = dict[str, Any]
# Maximum size of a layer's output for one image: several times the maximum in the widest published networks.
MAX_ACTIVATIONS = 2**26
# Parameters that a file may leave out: states of random generators, and statistics given in the architecture.
UNSTORED = 2**20


@dataclass(frozen=True)
class Declared:
    """The declared number of parameters, and (layer name, size of its output for one image) for each layer."""

    parameters: int
    activations: Sequence[tuple[str, int]]


def declared(config: Config, legacy: bool) -> Declared:
    """Count the parameters and activations of a model of this architecture, with almost no memory.

    Keras infers the shapes in a scope in which no variable gets a value.

    Args:
      config: has passed `extent.check_extent`.
      legacy: True if `config` is from an HDF5 file, which identifies objects by class name alone.
    """
    # A separate thread is used, because Keras keeps used names and uninitialized variables per thread.
    draws = random.getstate()  # Keras draws random seeds for layers that have none
    try:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(_declared, _sketch(config), legacy).result()
    finally:
        random.setstate(draws)


def check_declared(sizes: Declared, stored: int) -> None:
    """Raise ValueError if a model has more parameters than its file holds, or layers too wide to compute.

    Args:
      stored: number of array elements in the file.
    """
    for name, numbers in sizes.activations:
        if numbers > MAX_ACTIVATIONS:
            raise ValueError(
                f"layer {name!r:.60} gives more than {MAX_ACTIVATIONS:,} numbers for one image; give a model of "
                "smaller images or layers"
            )
    if sizes.parameters > stored + UNSTORED:
        raise ValueError(
            f"its architecture has {min(sizes.parameters, 10**18):,} parameters, but the file holds {stored:,} "
            "numbers; save the whole model again"
        )


def _declared(config: Config, legacy: bool) -> Declared:
    keras = backend.keras()
    with keras.StatelessScope(initialize_variables=False):
        if legacy:
            kind = keras.Sequential if config["class_name"] == "Sequential" else keras.Model
            model = kind.from_config(config["config"])
        else:
            model = keras.saving.deserialize_keras_object(config)
    activations = [
        (step.name, math.prod(size or 1 for size in tensor.shape))
        for step in _every_step(model)
        for call in step._inbound_nodes  # .output is the output of the first call only
        for tensor in call.outputs
    ]
    return Declared(sum(math.prod(v.shape) for v in model.variables), activations)


def _every_step(model: Any) -> Iterator[Any]:
    for step in getattr(model, "operations", getattr(model, "layers", ())):
        yield step
        yield from _every_step(step)


def _sketch(node: Any) -> Any:
    """A copy of `node` that declares the same sizes, but computes nothing while Keras builds it."""
    if isinstance(node, list):
        return [_sketch(value) for value in node]
    if not isinstance(node, dict):
        return node
    copy = {key: _sketch(value) for key, value in node.items()}
    inner: Any = copy.get("config")
    layers = _list(inner, "layers")
    if copy.get("class_name") == "Sequential" and len(layers) > 1 and _shape_of(layers[0]):
        # Without an input layer, Keras builds the model only once, at the end.
        inner["layers"], inner["build_input_shape"] = layers[1:], _shape_of(layers[0])
    if copy.get("class_name") == "Normalization" and isinstance(inner, dict):
        # Building it computes with its mean and variance. The replacement declares arrays of the same shapes, or none.
        axis = inner.get("axis", -1)
        copy["class_name"] = "Identity" if axis in (None, []) else "LayerNormalization"
        keys = ("name", "dtype", "trainable", *([] if axis in (None, []) else ["axis"]))
        copy["config"] = {key: value for key, value in inner.items() if key in keys}
        if "module" in copy:
            copy["module"] = "keras.layers"
    return copy


def _list(node: Any, key: str) -> list[Any]:
    value = node.get(key) if isinstance(node, dict) else None
    return value if isinstance(value, list) else []


def _shape_of(layer: Any) -> list[Any]:
    """The shape that an input layer declares; empty for any other layer."""
    if not isinstance(layer, dict) or layer.get("class_name") != "InputLayer":
        return []
    return _list(layer.get("config"), "batch_shape") or _list(
        layer.get("config"), "batch_input_shape"
    )
