"""The bridge to tf_keras and tfmot: a Keras 3 model in, a Keras 3 model out. Importing this module imports neither."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from compress import backend
from compress.findings import CannotTreat, about_layer, refuse_together
from compress.keras_models.graph import Call, check_readable, graph_of
from compress.keras_models.model import KerasModel
from compress.tfmot import keras2_layers


@cache
def tf_keras() -> Any:
    """The tf_keras module: Keras 2, the only Keras that tfmot 0.8 supports."""
    backend.tensorflow()
    with backend.stderr_held_back():
        import tf_keras
    return tf_keras


@cache
def tfmot() -> Any:
    """The tensorflow_model_optimization module."""
    tf_keras()
    # tfmot sets an environment variable that decides, at its first use, which Keras `tensorflow.keras` is. So use it
    # here first, and restore the variable afterwards: the rest of the process is then as without tfmot.
    _ = backend.tensorflow().keras.layers
    before = os.environ.get("TF_USE_LEGACY_KERAS")
    try:
        with backend.stderr_held_back(), warnings.catch_warnings():
            # tfmot compares TensorFlow's version with distutils, which is deprecated.
            warnings.simplefilter("ignore", DeprecationWarning)
            import tensorflow_model_optimization
    finally:
        if before is None:
            os.environ.pop("TF_USE_LEGACY_KERAS", None)
        else:
            os.environ["TF_USE_LEGACY_KERAS"] = before
    return tensorflow_model_optimization


def check(model: Any) -> None:
    """Raise CannotTreat, with the layer and what to do, if a Keras 3 model cannot have a tf_keras twin."""
    check_readable(model)
    refuse_together(partial(_check_layer, layer) for layer in _layers(model))
    refuse_together(partial(_check_call, call) for call in graph_of(model).calls)


def twin(model: Any, seed: int = 0, clusters: Mapping[str, np.ndarray] | None = None) -> Any:
    """The tf_keras model, in new variables, that computes what a Keras 3 model does, with the same layers and names.

    Args:
      model: Sequential or functional, of layers that are built into Keras.
      seed: decides what dropout drops.
      clusters: kernel name -> the result of `cluster_ids`. Training keeps weights of id 0 at zero, and weights of the
        same other id equal.

    Raises:
      CannotTreat: a layer has no twin.
    """
    check(model)
    twins = {
        layer.name: keras2_layers.twin_of(layer, tf_keras(), clusters or {}, (seed, index))
        for index, layer in enumerate(_layers(model))
        if not isinstance(layer, backend.keras().layers.InputLayer)
    }
    copy = _connected(model, twins)
    for layer in model.layers:
        if layer.get_weights():
            twins[layer.name].set_weights(layer.get_weights())
    return copy


def with_weights_of(twin: Any, model: Any) -> Any:
    """A copy of the Keras 3 `model` with the weights of its tf_keras twin; neither is changed."""
    copy = KerasModel(model).copy().keras
    for layer in copy.layers:
        if layer.get_weights():
            layer.set_weights(twin.get_layer(layer.name).get_weights())
    return copy


@dataclass(frozen=True)
class PolynomialSchedule:
    """Sparsity of one kernel by training step, as in tfmot's PolynomialDecay: it rises fast at first, then more slowly.

    The first step is 1. The kernel's mask is updated at `begin_step` and every `frequency` steps until `end_step`, and
    does not change after that.
    """

    initial_sparsity: float
    final_sparsity: float
    begin_step: int
    end_step: int
    frequency: int


def with_pruning(twin: Any, ramps: Mapping[str, PolynomialSchedule]) -> tuple[Any, list[Any]]:
    """A tf_keras model that prunes while it is trained, and the callbacks that its training needs.

    Args:
      twin: the result of `twin`; it shares its variables with the returned model.
      ramps: layer name -> the schedule of its kernel; for a SeparableConv2D, the schedule of its pointwise kernel.
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


def _layers(model: Any) -> list[Any]:
    """The layers of a Keras 3 model in order; if it is functional, also its operations, such as `x + y`."""
    layers: list[Any] = getattr(model, "operations", model.layers)
    return layers


def _connected(model: Any, twins: Mapping[str, Any]) -> Any:
    """The tf_keras model of `twins`, by layer name, connected as the layers of a Keras 3 model are."""
    keras, graph = backend.keras(), graph_of(model)
    # The names of layers, because a tensor's name differs from its InputLayer's. A Sequential model has no InputLayer.
    images = [layer for layer in _layers(model) if isinstance(layer, keras.layers.InputLayer)]
    names = {id(layer.output): layer.name for layer in images}
    tensors = {
        id(image): tf_keras().Input(
            batch_shape=image.shape, dtype=image.dtype, name=names.get(id(image))
        )
        for image in graph.inputs
    }
    for call in graph.calls:
        inputs = [tensors[id(tensor)] for tensor in keras.tree.flatten(call.args)]
        output = twins[call.layer.name](inputs if len(inputs) > 1 else inputs[0])
        tensors[id(call.outputs[0])] = output
    inputs, outputs = (
        keras.tree.map_structure(lambda tensor: tensors[id(tensor)], ends)
        for ends in (graph.takes, graph.outputs)
    )
    return tf_keras().Model(inputs, outputs, name=model.name)


def _check_layer(layer: Any) -> None:
    if isinstance(layer, backend.keras().Model):
        way = "call its layers one after another in the outer model instead"
        kind = type(layer).__name__
        raise CannotTreat(about_layer(layer.name, kind, "is a model inside the model", way))
    keras2_layers.check(layer)


def _check_call(call: Call) -> None:
    """Raise CannotTreat unless a layer is called with outputs of layers only: its twin can take nothing else."""
    keras = backend.keras()
    tensors = keras.tree.flatten(call.args)
    ranks = {len(t.shape) if isinstance(t, keras.KerasTensor) else None for t in tensors}
    # Keras 3 records `training` at each call, but the call of the whole model overrides it.
    ignored = ("training", "mask")
    others = [k for k, v in call.kwargs.items() if k not in ignored and v is not None]
    operation = not isinstance(call.layer, keras.layers.Layer)
    if None in ranks or not ranks or others or (operation and len(ranks) > 1):
        why = "is not called with outputs of layers of one rank alone"
        way = "use Keras's layers, such as Rescaling and Reshape"
        raise CannotTreat(about_layer(call.layer.name, type(call.layer).__name__, why, way))
