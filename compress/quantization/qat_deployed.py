"""A model trained with fake quantization, in the form from which TensorFlow's converter reads ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from compress import backend
from compress.keras_models.graph import graph_of
from compress.keras_models.layers import is_batchnorm
from compress.keras_models.rebuild import LayerSpec, rebuilt
from compress.quantization.fake_quant import QMAX
from compress.quantization.qat_form import FIXED, is_softmax
from compress.quantization.qat_layers import layers


@dataclass(frozen=True, eq=False)
class Codes:
    """The numbers that a file stores for a layer with a kernel, with its BatchNormalization folded in."""

    codes: np.ndarray  # int8, in the kernel's shape
    steps: np.ndarray  # float64, in a shape that broadcasts to `codes`; positive
    bias: np.ndarray  # float64 [channels]
    bits: int
    learns_bias: bool  # if not, the bias is zero


def with_trained_ranges(training: Any, stored: Mapping[str, Codes]) -> Any:
    """The model as TensorFlow's converter reads it: constant kernels, and an operation with each tensor's range."""
    own, deployed = layers(), _deployed()
    instead: dict[str, list[LayerSpec]] = {}
    graph = graph_of(training)
    for call in graph.calls:
        layer, spec = call.layer, []
        if isinstance(layer, own.Kernel):
            config = {"convolution": layer.convolution, "stored": stored[layer.name]}
            spec = [LayerSpec(deployed.Constant, config | {"name": layer.name})]
        elif isinstance(layer, own.Range):
            spec = [LayerSpec(deployed.Fixed, {"ends": layer.ends(), "name": layer.name})]
        elif is_softmax(layer):
            end = {"ends": FIXED["softmax"], "name": f"{layer.name}_range"}
            spec = [LayerSpec(type(layer), layer.get_config()), LayerSpec(deployed.Fixed, end)]
        elif not (is_batchnorm(layer) or isinstance(layer, own.Clip)):
            continue
        instead[layer.name] = spec
    return rebuilt(training, instead)


@cache
def _deployed() -> Any:
    """The classes `Constant`, a convolution with constant weights, and `Fixed`, which gives a tensor a fixed range."""
    keras, tf = backend.keras(), backend.tensorflow()
    base, ranged = keras.layers.Layer, tf.quantization

    class Fixed(base):  # type: ignore[misc, valid-type]
        def __init__(self, ends: tuple[float, float], **config: Any) -> None:
            base.__init__(self, **config)
            self.ends = ends

        def call(self, x: Any) -> Any:
            return ranged.fake_quant_with_min_max_args(x, *self.ends)

    class Constant(base):  # type: ignore[misc, valid-type]
        def __init__(self, convolution: Any, stored: Codes, **config: Any) -> None:
            base.__init__(self, **config)
            self.convolution, self.stored = convolution, stored

        def call(self, x: Any) -> Any:
            codes, steps = self.stored.codes, self.stored.steps
            w = (codes * steps).astype(np.float32)
            ends = (QMAX[8] * steps).astype(np.float32).ravel()
            while w.ndim < 4:
                w = w[None]
            if ends.size == 1:
                end = float(ends[0])
                w = ranged.fake_quant_with_min_max_args(w, -end, end, narrow_range=True)
            else:
                # Ranges are those of the last axis. A depthwise kernel's last two axes become one.
                flat = w if w.shape[-1] == ends.size else w.reshape(*w.shape[:2], 1, -1)
                flat = ranged.fake_quant_with_min_max_vars_per_channel(
                    flat, -ends, ends, narrow_range=True
                )
                w = flat if flat.shape == w.shape else tf.reshape(flat, w.shape)
            bias = self.stored.bias.astype(np.float32)
            if bias.size > 1 and np.ptp(bias) == 0 != bias[0]:
                # The converter treats equal biases as one bias, and divides all of them by the first channel's step.
                bias[0] = np.nextafter(bias[0], np.float32(0))
            if len(self.convolution.shape) == 4:
                return self.convolution(x, w) + bias
            # Turn sequences and vectors into images of one row: the converter supports per-channel steps only for
            # convolutions in two dimensions.
            *before, inputs = x.shape[1:]
            image = tf.reshape(x, [-1, *[1] * (2 - len(before)), *before, inputs])
            options = {
                name: value if name == "padding" else (1, *value)
                for name, value in self.convolution.options.items()
            }
            result = keras.ops.conv(image, w, **options) + bias
            return tf.reshape(result, [-1, *result.shape[3 - len(before) : 3], result.shape[3]])

    return SimpleNamespace(Constant=Constant, Fixed=Fixed)
