"""The only door to tf_keras and tfmot: a Keras 3 model in, a Keras 3 model out. Importing this imports neither."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np

from compress import backend
from compress.findings import CannotTreat, about_layer
from compress.keras_models.graph import check_readable
from compress.keras_models.model import KerasModel
from compress.tfmot import keras2_layers

Key = tuple[str, int, int]  # layer, which call of it, which output of the call


@cache
def tf_keras() -> Any:
    """The tf_keras module: Keras 2, the only Keras that tfmot 0.8 knows."""
    backend.tensorflow()
    with backend.stderr_held_back():
        import tf_keras
    return tf_keras


@cache
def tfmot() -> Any:
    """The tensorflow_model_optimization module."""
    tf_keras()
    # tfmot sets a variable that decides what `tensorflow.keras` is when first asked. Asking now, and putting the
    # variable back, leaves the rest of the process as it would be without tfmot.
    _ = backend.tensorflow().keras.layers
    before = os.environ.get("TF_USE_LEGACY_KERAS")
    try:
        with backend.stderr_held_back(), warnings.catch_warnings():
            # It compares TensorFlow's version by distutils, which is deprecated.
            warnings.simplefilter("ignore", DeprecationWarning)
            import tensorflow_model_optimization
    finally:
        if before is None:
            os.environ.pop("TF_USE_LEGACY_KERAS", None)
        else:
            os.environ["TF_USE_LEGACY_KERAS"] = before
    return tensorflow_model_optimization


def check(model: Any) -> None:
    """Raise CannotTreat, with the layer and the way out, if a Keras 3 model cannot have a tf_keras twin."""
    check_readable(model)
    keras = backend.keras()
    functional = type(model) is not keras.Sequential
    for layer in model.operations if functional else model.layers:
        if isinstance(layer, keras.Model):
            way = "call its layers one after another in the outer model instead"
            kind = type(layer).__name__
            raise CannotTreat(about_layer(layer.name, kind, "is a model inside the model", way))
        keras2_layers.check(layer)
    for layer in model.get_config()["layers"] if functional else ():
        for node in layer["inbound_nodes"]:
            _check_call(layer, node)


def twin(model: Any, seed: int = 0, kept: Mapping[str, np.ndarray] | None = None) -> Any:
    """The tf_keras model that computes what a Keras 3 model does, layer by layer and name by name, in new variables.

    Args:
      model: Sequential or functional, of Keras's own layers.
      seed: decides what dropout drops.
      kept: kernel name -> what `clusters.labels` gives: training keeps weights of label 0 at zero, and those of
        another label equal.

    Raises:
      CannotTreat: a layer has no twin.
    """
    check(model)
    layers = model.operations if type(model).__name__ == "Functional" else model.layers
    twins = {
        layer.name: keras2_layers.twin_of(layer, tf_keras(), kept or {}, (seed, index))
        for index, layer in enumerate(layers)
        if type(layer).__name__ != "InputLayer"
    }
    if type(model).__name__ == "Functional":
        copy = _connected(model.get_config(), twins)
    else:
        x = first = tf_keras().Input(batch_shape=model.inputs[0].shape, dtype=model.inputs[0].dtype)
        for layer in model.layers:
            x = twins[layer.name](x)
        copy = tf_keras().Model(first, x, name=model.name)
    for layer in model.layers:
        if layer.get_weights():
            twins[layer.name].set_weights(layer.get_weights())
    return copy


def bring_home(twin: Any, model: Any) -> Any:
    """A copy of the Keras 3 `model` with the weights of its tf_keras twin; both stay as they were."""
    home = KerasModel(model).copy().keras
    for layer in home.layers:
        if layer.get_weights():
            layer.set_weights(twin.get_layer(layer.name).get_weights())
    return home


@dataclass(frozen=True)
class Ramp:
    """Sparsity of one kernel by training step, as tfmot's PolynomialDecay has it: fast at first, then ever slower.

    The first step is 1. The kernel's mask is made anew at `begin_step` and every `frequency` steps from there until
    `end_step`, and stays as it is then.
    """

    initial_sparsity: float
    final_sparsity: float
    begin_step: int
    end_step: int
    frequency: int


def with_pruning(twin: Any, ramps: Mapping[str, Ramp]) -> tuple[Any, list[Any]]:
    """A tf_keras model that prunes while it is trained, and the callbacks that its training needs.

    Args:
      twin: what `twin` gave; it shares its variables with the model returned.
      ramps: layer name -> how sparse its kernel becomes when; of a SeparableConv2D, its pointwise kernel.
    """
    pruning = tfmot().sparsity.keras

    def wrapped(layer: Any) -> Any:
        if layer.name not in ramps:
            return layer
        schedule = pruning.PolynomialDecay(**asdict(ramps[layer.name]))
        return pruning.prune_low_magnitude(layer, pruning_schedule=schedule)

    model = tf_keras().models.clone_model(twin, clone_function=wrapped)
    return model, [pruning.UpdatePruningStep()]


def without_pruning(model: Any) -> Any:
    """The tf_keras model inside a model of `with_pruning`."""
    return tfmot().sparsity.keras.strip_pruning(model)


def _connected(config: Mapping[str, Any], twins: Mapping[str, Any]) -> Any:
    """The tf_keras model of `twins`, called as the configuration of a functional Keras 3 model says."""
    tensors: dict[Key, Any] = {}
    waiting: list[tuple[Key, Any]] = []
    for layer in config["layers"]:
        if layer["class_name"] == "InputLayer":
            options = {k: layer["config"][k] for k in ("batch_shape", "dtype", "name")}
            tensors[layer["name"], 0, 0] = tf_keras().Input(**options)
        waiting += [((layer["name"], i, 0), node) for i, node in enumerate(layer["inbound_nodes"])]
    while waiting:
        later = []
        for key, node in waiting:
            inputs = [
                tensors.get(tuple(t["config"]["keras_history"])) for t in _tensors(node["args"])
            ]
            if any(tensor is None for tensor in inputs):
                later.append((key, node))  # a shared layer is called again further on
                continue
            tensors[key] = twins[key[0]](inputs if len(inputs) > 1 else inputs[0])
        waiting = later
    return tf_keras().Model(
        _structure(config["input_layers"], tensors),
        _structure(config["output_layers"], tensors),
        name=config["name"],
    )


def _check_call(layer: Mapping[str, Any], node: Mapping[str, Any]) -> None:
    """Raise CannotTreat unless a layer is called with nothing but outputs of layers, which its twin takes alike."""
    ranks = [t and len(t["config"]["shape"]) for t in _tensors(node["args"])]
    # Keras 3 notes a `training` at each call, but what the whole model is called with overrides it.
    ignored = ("training", "mask")
    others = [k for k, v in node["kwargs"].items() if k not in ignored and v is not None]
    operation = layer["module"] != "keras.layers"
    if None in ranks or not ranks or others or (operation and len(set(ranks)) > 1):
        why = "is called with something else than outputs of layers of one rank"
        way = "say the same with Keras's layers, such as Rescaling and Reshape"
        raise CannotTreat(about_layer(layer["name"], layer["class_name"], why, way))


def _tensors(arguments: Any) -> Iterator[Any]:
    """What the arguments of a call hold, in order; None for what is no output of a layer."""
    for argument in arguments:
        if isinstance(argument, list | tuple):
            yield from _tensors(argument)
        else:
            given = isinstance(argument, dict) and argument.get("class_name") == "__keras_tensor__"
            yield argument if given else None


def _structure(spec: Any, tensors: Mapping[Key, Any]) -> Any:
    """Lists and dicts of tensors as `spec` has them of keys."""
    if isinstance(spec, dict):
        return {name: _structure(inner, tensors) for name, inner in spec.items()}
    if isinstance(spec[0], str):
        return tensors[tuple(spec)]
    return [_structure(inner, tensors) for inner in spec]
