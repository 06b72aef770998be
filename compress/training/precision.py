"""Precision of a training: which layers compute in bfloat16, a student's and its teachers'."""

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
VERSION = 2  # of what bfloat16 computes: raised, it makes saved runs in it stale, and no others
MIXED = "mixed_bfloat16"  # Keras's policy: variables stay float32, what is computed from them is bfloat16
# Of activations by name. TensorFlow's kernels of the others take up to four times as long in bfloat16 as in float32.
FAST_ACTIVATIONS = {
    *("linear", "relu", "relu6", "leaky_relu"),
    *("silu", "swish", "hard_silu", "hard_swish", "hard_sigmoid"),
}


def layers_in_bfloat16(model: Any) -> list[Any]:
    """The layers of a Keras 3 model that a training in bfloat16 computes in it.

    They are those from the first with a kernel up to the last one, which with all after it gives the logits in
    float32. What comes before the first kernel, such as a Normalization, keeps the pixels exact. A Lambda and layers
    that are not of Keras stay as they are, because their code may not take bfloat16; activations such as GELU, because
    they are slow in it.
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
    """Whether a layer is an activation alone, and one that bfloat16 makes slower."""
    keras = backend.keras()
    is_activation = type(layer) is keras.layers.Activation
    return is_activation and layer.get_config()["activation"] not in FAST_ACTIVATIONS


def compiled_copy(model: KerasModel, precision: Precision = "float32") -> Any:
    """A copy of a model in Keras that answers images, such as a teacher does, computing in a precision."""
    keras = backend.keras()
    copy = model.copy().keras
    for layer in layers_in_bfloat16(copy) if precision == "bfloat16" else []:
        layer.dtype_policy = keras.DTypePolicy(MIXED)
    copy.compile(jit_compile=False if backend.uses_tensorflow(keras) else "auto")
    return copy


@contextlib.contextmanager
def computing_in(precision: Precision, model: Any, keras: Any) -> Iterator[list[Any]]:
    """Have `model` compute in a precision for the time of the block. Gives the Keras callbacks that a fit then needs.

    Variables, and so the weights, the optimizer and the statistics of BatchNormalization, are float32 throughout. A
    model of tf_keras always computes in float32.
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
        """Validate in float32: the model is saved, exported and measured so."""

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
