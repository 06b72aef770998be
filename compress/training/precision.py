"""Precision of a training: which layers of a student and its teachers compute in bfloat16."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

from compress import backend
from compress.keras_models.layers import every_layer
from compress.keras_models.model import KerasModel
from compress.training.fused_batchnorm import can_fuse, fuse, unfuse

Precision = Literal["float32", "bfloat16"]
PrecisionChoice = Literal["auto", "float32", "bfloat16"]  # auto: see `runs.precision`
VERSION = 2  # of the bfloat16 computation; raising it makes only saved runs in bfloat16 stale
MIXED = "mixed_bfloat16"  # Keras's policy: variables stay float32, computations are in bfloat16
# Names of activations. TensorFlow's kernels for others take up to four times as long in bfloat16 as in float32.
FAST_ACTIVATIONS = {
    *("linear", "relu", "relu6", "leaky_relu"),
    *("silu", "swish", "hard_silu", "hard_swish", "hard_sigmoid"),
}


def layers_in_bfloat16(model: Any) -> list[Any]:
    """The layers of a Keras 3 model that compute in bfloat16 when the training does.

    They begin at the first layer with a kernel and end before the last one. The last one and all layers after it give
    the logits in float32. Layers before the first kernel, such as a Normalization, keep the pixels exact. A Lambda and
    layers from outside Keras keep float32, because their code may not accept bfloat16. Activations such as GELU keep
    float32, because they are slow in bfloat16.
    """
    layers = [layer for layer in every_layer(model) if not hasattr(layer, "layers")]
    kernels = [
        place
        for place, layer in enumerate(layers)
        if any(len(weight.shape) > 1 for weight in layer.weights)
    ]
    between = layers[kernels[0] : kernels[-1]] if kernels else []
    return [
        layer
        for layer in between
        if type(layer).__module__.startswith("keras.")
        and type(layer) is not backend.keras().layers.Lambda
        and layer.dtype_policy.name == "float32"
        and not _is_slow(layer)
    ]


def _is_slow(layer: Any) -> bool:
    """True if a layer is only an activation, and bfloat16 makes that activation slower."""
    keras = backend.keras()
    is_activation = type(layer) is keras.layers.Activation
    return is_activation and layer.get_config()["activation"] not in FAST_ACTIVATIONS


def compiled_copy(model: KerasModel, precision: Precision = "float32") -> Any:
    """A compiled Keras copy of a model, such as a teacher, that predicts in this precision."""
    keras = backend.keras()
    copy = model.copy().keras
    for layer in layers_in_bfloat16(copy) if precision == "bfloat16" else []:
        layer.dtype_policy = keras.DTypePolicy(MIXED)
    copy.compile(jit_compile=False if backend.uses_tensorflow(keras) else "auto")
    return copy


@contextlib.contextmanager
def computing_in(precision: Precision, model: Any, keras: Any) -> Iterator[list[Any]]:
    """Make `model` compute in a precision inside the block. Yields the Keras callbacks that a fit then needs.

    All variables stay float32: the weights, the optimizer's state and the statistics of BatchNormalization. A model of
    tf_keras always computes in float32.
    """
    if precision == "float32" or keras is not backend.keras():
        yield []
        return
    own = [(layer, layer.dtype_policy) for layer in layers_in_bfloat16(model)]

    def set_mixed() -> None:
        for layer, _ in own:
            layer.dtype_policy = keras.DTypePolicy(MIXED)

    def set_own() -> None:
        for layer, policy in own:
            layer.dtype_policy = policy

    class ValidateAsSaved(keras.callbacks.Callback):
        """Validate in float32, because the model is saved, exported and measured in float32."""

        def on_test_begin(self, logs: Any = None) -> None:
            set_own()

        def on_test_end(self, logs: Any = None) -> None:
            set_mixed()

    fused = [layer for layer, _ in own if can_fuse(layer)]
    set_mixed()
    for layer in fused:
        fuse(layer)
    try:
        yield [ValidateAsSaved()]
    finally:
        set_own()
        for layer in fused:
            unfuse(layer)
