"""Layers of Keras models: their kernels by name, copies of layers, and a check for a softmax at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from compress import backend
from compress.keras_models.graph import graph_of, is_readable
from compress.keras_models.layer_kinds import DEPTHWISE, kind_of
from compress.text import nearest


def kernel_names(layer: Any) -> dict[str, str]:
    """Kernel name -> attribute of a Keras 3 layer that holds it; empty if the layer has no kernel."""
    return {layer.name + kernel.suffix: kernel.attribute for kernel in kind_of(layer).kernels}


def kernels(model: Any) -> dict[str, Any]:
    """Kernel name -> kernel variable, for every kernel of a Keras 3 model in layer order.

    A kernel has its layer's name; depthwise and pointwise kernels are "name/depthwise_kernel" and
    "name/pointwise_kernel".
    """
    return {
        name: getattr(layer, attribute)
        for layer in model.layers
        for name, attribute in kernel_names(layer).items()
    }


def layer_of(kernel: str) -> str:
    """The name of the layer that has a kernel of this name.

    >>> layer_of("block1/pointwise_kernel"), layer_of("conv1a")
    ('block1', 'conv1a')
    """
    return kernel.partition("/")[0]


def is_depthwise(kernel: str) -> bool:
    """True if the kernel of this name filters each input channel separately.

    >>> is_depthwise("block1/depthwise_kernel"), is_depthwise("conv1a")
    (True, False)
    """
    return kernel.endswith(DEPTHWISE)


def is_channels_last(layer: Any) -> bool:
    """True if a layer has channels on the last axis. Layers without `data_format` do."""
    return getattr(layer, "data_format", "channels_last") == "channels_last"


def is_batchnorm(layer: Any) -> bool:
    """True if a layer is a BatchNormalization of Keras 3 or tf_keras."""
    return kind_of(layer).affine == "batchnorm"


def check_named(stage: str, layers: Iterable[str], known: Iterable[str], use: str) -> None:
    """Raise ValueError, with the nearest known name, for the first of `layers` that is not in `known`.

    Args:
      use: the purpose for which the layer was named, as words of the message: "with a kernel to skip".
    """
    known_names = sorted(set(known))
    for layer in layers:
        if layer not in known_names:
            near = nearest(layer, known_names)
            hint = f"did you mean '{near}'?" if near else f"choose of {known_names}."
            raise ValueError(f"{stage}: no layer '{layer}' {use}; {hint}")


def copy_of(layer: Any, name: str | None = None) -> Any:
    """A new layer or operation with the configuration of `layer`, not built yet."""
    keras = backend.keras()
    config = layer.get_config()
    if type(layer) is keras.layers.Lambda:
        # The configuration of a Lambda holds code, which Keras loads only if that is allowed for the whole process.
        options = {k: v for k, v in config.items() if k in ("arguments", "trainable", "dtype")}
        copy = keras.layers.Lambda(layer.function, layer.output.shape[1:], **options)
    else:
        copy = type(layer).from_config(config)
    copy.name = name or layer.name
    return copy


def give_weights(layer: Any, weights: Sequence[np.ndarray]) -> None:
    """Set a layer's weights. A Normalization also computes the values that it derives from them."""
    layer.set_weights(weights)
    if type(layer) is backend.keras().layers.Normalization:
        layer.finalize_state()


def every_layer(model: Any) -> Iterator[Any]:
    """Yield every layer of a Keras model once, including models inside the model and their layers."""
    seen: set[int] = set()
    waiting = [iter(getattr(model, "layers", ()))]
    while waiting:
        layer = next(waiting[-1], None)
        if layer is None:
            waiting.pop()
        elif id(layer) not in seen:
            seen.add(id(layer))
            yield layer
            waiting.append(iter(getattr(layer, "layers", ())))


def gives_probabilities(model: Any) -> bool:
    """True if a Keras model ends in a softmax. If not, its outputs are treated as logits.

    If the last layer is a wrapper, for example of tfmot, the layer inside it counts.
    """
    last = model.layers[-1]
    if is_readable(model):
        graph = graph_of(model)
        scores = backend.keras().tree.flatten(graph.outputs)[-1]
        last = getattr(graph.makers.get(id(scores)), "layer", None)
    last = getattr(last, "layer", last)
    activation = getattr(last, "activation", None)
    activation = getattr(activation, "activation", activation)
    return type(last).__name__ == "Softmax" or getattr(activation, "__name__", "") == "softmax"
