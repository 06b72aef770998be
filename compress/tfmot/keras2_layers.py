"""The Keras 2 layer that computes the same as a Keras 3 layer. The caller passes the Keras 2 module."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from compress import backend
from compress.findings import CannotTreat, about_layer
from compress.keras_models.layer_kinds import kind_of
from compress.keras_models.layers import is_channels_last, kernel_names
from compress.weight_sharing import cluster_projection

# Activations that Keras 2 and Keras 3 compute alike.
SAME = """
elu exponential gelu linear mish relu selu sigmoid silu softmax softplus softsign swish tanh
"""
NAME = "[A-Za-z0-9.][A-Za-z0-9_.>-]*"  # what TensorFlow allows as a scope
MODULES = {"_regularizer": "regularizers", "_constraint": "constraints"}


def check(layer: Any) -> None:
    """Raise CannotTreat, with the layer, the reason and what to do, if `layer` has no Keras 2 twin."""
    cls, kind = type(layer), kind_of(layer)
    operation = cls.__module__ == "keras.src.ops.numpy" and kind.keras2_operation
    if not operation and cls is not getattr(backend.keras().layers, cls.__name__, None):
        raise _refusal(layer, "is not built into Keras", "build the model of Keras's layers")
    if kind.keras2 is None:
        way = "leave it out of the model while compressing, or build the model without it"
        raise _refusal(layer, "cannot be trained through tf_keras", way)
    if not re.fullmatch(NAME, layer.name):
        raise _refusal(layer, "has a name that Keras 2 does not take", f"name it like {NAME}")
    policy = getattr(getattr(layer, "dtype_policy", None), "name", "float32")
    if policy != "float32" and kind.keras2 != "input":
        way = "build the model without a mixed-precision policy and load the weights into that"
        raise _refusal(layer, f"computes in {policy}, not in float32", way)
    for key, value in layer.get_config().items():
        if key == "activation" and value not in [*SAME.split(), *_activations()]:
            raise _refusal(layer, "has an activation that Keras 2 lacks", "use relu, or a layer")
        if value and any(key.endswith(suffix) for suffix in MODULES):
            _converter(layer, key, value)


def twin_of(
    layer: Any, keras2: Any, clusters: Mapping[str, np.ndarray], key: tuple[int, int]
) -> Any:
    """The Keras 2 layer that computes what `layer` does, with the same name. It is not built and has no weights yet.

    Args:
      layer: a Keras 3 layer that is not an InputLayer.
      keras2: the Keras 2 module.
      clusters: kernel name -> the result of `cluster_ids`. Training keeps weights of id 0 at zero, and weights of the
        same other id equal.
      key: decides what dropout drops, together with the count of its calls.

    Raises:
      CannotTreat: there is no such layer.
    """
    check(layer)
    kind = kind_of(layer)
    if kind.keras2 != "same":
        return _dropout(layer, keras2, key)
    config = {}
    target = getattr(keras2.layers, type(layer).__name__)
    known, defaults = set(_defaults(target)), _defaults(type(layer))
    for option, value in layer.get_config().items():
        option = kind.keras2_options.get(option, option)
        if option == "dtype" or option.endswith("_initializer"):
            continue  # the dtype is float32, and weights are copied later
        if value and any(option.endswith(suffix) for suffix in MODULES):
            value = _converter(layer, option, value)(keras2)
        elif option == "activation" and value not in SAME.split():
            value = _activations()[value]
        if option in known:
            config[option] = value
        elif value not in (None, False, "channels_last", defaults.get(option)):
            raise _refusal(layer, f"has {option}={value!r}", "build the model without that")
    for kernel, attribute in kernel_names(layer).items():
        if kernel in clusters and clusters[kernel].max() < clusters[kernel].size:
            option = attribute.removesuffix("_kernel") + "_constraint"
            option = option if option in config else "depthwise_constraint"
            config[option] = _cluster_constraint(kernel, clusters[kernel], config[option], keras2)
    return target(**config)


def _refusal(layer: Any, why: str, way: str) -> CannotTreat:
    return CannotTreat(about_layer(layer.name, type(layer).__name__, why, way))


def _defaults(cls: type) -> dict[str, Any]:
    """Every option of a Keras class and of its base classes -> its default."""
    defaults: dict[str, Any] = {"name": None, "trainable": True, "activity_regularizer": None}
    for parent in cls.__mro__:
        parameters = inspect.signature(parent.__init__).parameters.values()  # type: ignore[misc]
        defaults |= {p.name: p.default for p in parameters if p.name not in defaults}
    return defaults


def _converter(layer: Any, option: str, value: Any) -> Callable[[Any], Any]:
    """A function that takes the Keras 2 module and gives its regularizer or constraint of the same configuration."""
    module = next(module for suffix, module in MODULES.items() if option.endswith(suffix))
    if not isinstance(value, dict) or value.get("module") != f"keras.{module}":
        raise _refusal(layer, f"has a custom {option}", f"use one of keras.{module}, or none")
    return lambda keras2: getattr(getattr(keras2, module), value["class_name"])(**value["config"])


def _activations() -> dict[str, Callable[[Any], Any]]:
    """Activations that Keras 2 lacks or computes differently."""
    nn = backend.tensorflow().nn

    def hard_sigmoid(x: Any) -> Any:
        return nn.relu6(x + 3) / 6

    def hard_silu(x: Any) -> Any:
        return x * hard_sigmoid(x)

    return {
        "hard_sigmoid": hard_sigmoid,
        "hard_silu": hard_silu,
        "hard_swish": hard_silu,
        "leaky_relu": lambda x: nn.leaky_relu(x, 0.2),
        "log_softmax": nn.log_softmax,
        "relu6": nn.relu6,
    }


def _cluster_constraint(name: str, clusters: np.ndarray, constraint: Any, keras2: Any) -> Any:
    """A constraint that keeps zeros and clusters of a kernel, also after the kernel's own constraint if it has one."""
    tf = backend.tensorflow()
    project = cluster_projection(clusters, tf.gather, tf.math.unsorted_segment_sum)

    def projected(kernel: Any) -> Any:
        return tf.reshape(project(tf.reshape(kernel, [-1])), clusters.shape)

    class Kept(keras2.constraints.Constraint):
        def __call__(self, kernel: Any) -> Any:
            return projected(constraint(projected(kernel)) if constraint else kernel)

    # tfmot copies layers by configuration, which holds only the class name of a constraint.
    Kept.__name__ = f"Kept_{name}"
    return Kept()


def _dropout(layer: Any, keras2: Any, key: tuple[int, int]) -> Any:
    noise_shape = getattr(layer, "noise_shape", None)
    if kind_of(layer).keras2 == "channel dropout":
        places = [1] * (layer.input_spec.ndim - 2)
        noise_shape = (None, *places, None) if is_channels_last(layer) else (None, None, *places)
    return counted_dropout(keras2)(layer.rate, noise_shape, key, name=layer.name)


@cache
def counted_dropout(keras2: Any) -> Any:
    """A Keras 2 layer class: dropout whose only state is a weight, so that resumed training drops the same units."""
    tf = backend.tensorflow()

    class CountedDropout(keras2.layers.Layer):
        def __init__(self, rate: float, noise_shape: Any, key: Sequence[int], **others: Any):
            keras2.layers.Layer.__init__(self, **others)
            self.rate, self.noise_shape, self.key = rate, noise_shape, tuple(key)

        def get_config(self) -> dict[str, Any]:
            own = {"rate": self.rate, "noise_shape": self.noise_shape, "key": self.key}
            return keras2.layers.Layer.get_config(self) | own

        def build(self, shape: Any) -> None:
            self.calls = self.add_weight(
                "calls", shape=(), dtype="int64", initializer="zeros", trainable=False
            )

        def call(self, inputs: Any, training: Any = None) -> Any:
            if not training or not self.rate:
                return inputs
            count = self.calls.assign_add(1)
            key = tf.constant(self.key, tf.int64)
            seed = tf.random.experimental.stateless_fold_in(key, count)
            sizes = enumerate(self.noise_shape or ())
            shape = [n or tf.shape(inputs)[i] for i, n in sizes] or None
            return tf.nn.experimental.stateless_dropout(inputs, self.rate, seed, noise_shape=shape)

    return CountedDropout
