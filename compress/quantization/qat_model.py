"""A Keras 3 model whose training simulates the arithmetic of its int8 file, or of its file of int8 and int4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from compress import backend
from compress.keras_models.graph import graph_of
from compress.keras_models.layer_kinds import kind_of
from compress.keras_models.layers import is_batchnorm
from compress.keras_models.model import KerasModel, keep_zeros_and_shared
from compress.keras_models.rebuild import LayerSpec, rebuilt
from compress.quantization.gptq import mse_scales
from compress.quantization.qat_form import (
    fixed_range,
    groups,
    plain_form,
    plain_names,
    rounded_calls,
)
from compress.quantization.qat_layers import Convolution, layers

BATCH = 100  # images at a time when ranges are measured
# Share of the epochs, at the end, in which ranges and normalization statistics are frozen.
FROZEN_SHARE = 1 / 3
INSIDE = 1 - 1e-4


def fake_quantized(
    model: KerasModel,
    bits: Mapping[str, int],
    calibration: np.ndarray,
    rounded: Mapping[str, np.ndarray] | None = None,
) -> Any:
    """A Keras 3 model with the weights of `model`; its training simulates integers and keeps zeros and shared values.

    Args:
      bits: kernel name -> 4 or 8; 8 if absent.
      calibration: float32 [n, h, w, c] images as the model sees them; they give the initial ranges of activations.
      rounded: kernel name -> a kernel already rounded to 4 bits, from which to start instead of the model's kernel.

    Raises:
      CannotTreat: a layer has no form for this training.
    """
    keras, plain = backend.keras(), plain_form(model)
    graph, own = graph_of(plain), layers()
    layer_of = plain_names(model)
    plain_bits = {name: bits.get(kernel, 8) for kernel, name in layer_of.items()}
    first = {layer_of[kernel]: w for kernel, w in (rounded or {}).items()}
    instead = {}
    for call in graph.calls:
        layer = call.layer
        if kind_of(layer).kernels:
            config = {"convolution": Convolution.of(layer), "bits": plain_bits.get(layer.name, 8)}
            instead[layer.name] = [LayerSpec(own.Kernel, config | {"name": layer.name})]
        elif is_batchnorm(layer):
            instead[layer.name] = [LayerSpec(own.Norm, layer.get_config(), layer.get_weights())]
    tensors = {t.name: t for t in graph.inputs} | {
        call.layer.name: call.outputs[0] for call in rounded_calls(graph)
    }
    kept = {call.layer.name: call.layer for call in graph.calls}
    for name in tensors:
        fixed = fixed_range(kept.get(name))
        spec = LayerSpec(own.Range, {"name": range_name(name), "fixed": fixed})
        if name in kept:
            same = LayerSpec(type(kept[name]), kept[name].get_config(), _weights(kept[name]))
            instead[name] = [*instead.get(name, [same]), spec]
        else:
            image = {"batch_shape": tensors[name].shape, "dtype": tensors[name].dtype, "name": name}
            instead[name] = [LayerSpec(keras.layers.InputLayer, image), spec]
    result = rebuilt(plain, instead)
    for layer in result.layers:
        if isinstance(layer, own.Kernel):
            _start(layer, plain.get_layer(layer.name), first.get(layer.name))
    by_name = {layer.name: layer for layer in result.layers}
    for names in groups(graph):
        ranges = [by_name[n] for n in map(range_name, names) if n in by_name]
        for each in ranges:
            each.group = lambda ranges=ranges: ranges
    probe = keras.Model(graph.takes, list(tensors.values()))
    _set_ranges(result, probe, list(tensors), calibration)
    return result


def range_name(layer: str) -> str:
    """The name of the layer that rounds the output of a layer."""
    return f"{layer}_range"


def freezing(training: Any, epochs: int) -> Any:
    """A Keras callback that freezes ranges and normalization statistics in the last third of the epochs.

    The file computes with fixed ranges and statistics. In these epochs the weights adapt to them.
    """
    keras: Any = backend.keras()
    own = layers()
    first = epochs - round(epochs * FROZEN_SHARE)

    class Freezing(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            moving = [layer for layer in training.layers if isinstance(layer, own.Norm | own.Range)]
            frozen = epoch >= first
            if any(layer.frozen != frozen for layer in moving):
                for layer in moving:
                    layer.frozen = frozen
                self.model.make_train_function(force=True)  # the old one has `frozen` compiled in

    return Freezing()


def _weights(layer: Any) -> list[np.ndarray]:
    weights: list[np.ndarray] = getattr(layer, "get_weights", list)()
    return weights


def _start(layer: Any, plain: Any, rounded: np.ndarray | None) -> None:
    """Give a layer the weights of its plain form and, with 4 bits, the steps with the least squared rounding error."""
    w = np.array(plain.kernel)
    layer.kernel.assign(w)
    if plain.use_bias:
        layer.bias.assign(plain.bias)
    layer.kernel.constraint = plain.kernel.constraint
    keep_zeros_and_shared(layer.kernel)
    if layer.bits == 4:
        steps = mse_scales(w).reshape(layer.steps.shape)
        layer.start_steps(np.where(steps > 0, steps, steps.max() or 1))
    if rounded is not None:
        # Assigned after the constraint is set, because the rounded kernel has more zeros and equal weights. Scaled to
        # lie just inside the grid, because a weight even slightly beyond the grid's end gets no gradient.
        layer.kernel.assign(rounded * np.float32(INSIDE))


def _set_ranges(training: Any, probe: Any, names: list[str], images: np.ndarray) -> None:
    """Set each range that is not fixed to the least and greatest number that the float model gives for the images."""
    lows, highs = [], []
    for start in range(0, len(images), BATCH):
        values = probe(images[start : start + BATCH], training=False)
        lows.append([np.min(v) for v in values])
        highs.append([np.max(v) for v in values])
    for name, low, high in zip(names, np.min(lows, axis=0), np.max(highs, axis=0), strict=True):
        layer = training.get_layer(range_name(name))
        if not layer.fixed:
            layer.low.assign(low)
            layer.high.assign(high)
