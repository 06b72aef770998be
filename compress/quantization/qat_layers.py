"""Keras 3 layers that compute as an int8 file will: they round kernels and activations, and pass gradients through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, reduce
from types import SimpleNamespace
from typing import Any

import numpy as np

from compress import backend
from compress.keras_models.layer_kinds import Kernel, kind_of
from compress.quantization import lsq
from compress.quantization.fake_quant import (
    CODES,
    fake_quantized,
    fake_quantized_kernel,
    grid,
    within_channels,
)

MOMENTUM = 0.99  # of the moving mean of an activation's range
# A step does not fall below this fraction of its initial size, because its sign must not change.
LEAST_STEP = 1e-3


@dataclass(frozen=True)
class Convolution:
    """The operation of a convolution or Dense layer: all of the layer but its weights, activation and name."""

    operation: str  # the function of `keras.ops` that applies the kernel
    layout: Kernel
    shape: tuple[int, ...]  # of the kernel
    output: tuple[int | None, ...]  # shape of the output, the batch first and the channels last
    has_bias: bool
    trainable: bool
    options: Mapping[str, Any]  # of the operation

    @classmethod
    def of(cls, layer: Any) -> Convolution:
        """The operation of a built layer."""
        kind, names = kind_of(layer), ("strides", "padding", "dilation_rate")
        if kind.applied_by == "conv_transpose":
            names = ("strides", "padding", "output_padding")
        return cls(
            kind.applied_by,
            kind.kernels[0],
            tuple(layer.kernel.shape),
            tuple(layer.output.shape),
            layer.use_bias,
            layer.trainable,
            {name: getattr(layer, name) for name in names if hasattr(layer, name)},
        )

    def __call__(self, x: Any, w: Any) -> Any:
        """The output of the kernel `w` for `x`, without bias."""
        return getattr(backend.keras().ops, self.operation)(x, w, **self.options)


@cache
def layers() -> SimpleNamespace:
    """The classes `Kernel`, `Norm`, `Range`, `Clip`; made on first use, as they derive from Keras classes."""
    keras: Any = backend.keras()
    base, norm = keras.layers.Layer, keras.layers.BatchNormalization

    class QuantizedKernel(base):  # type: ignore[misc, valid-type]
        """A convolution or Dense layer that rounds its kernel in each call: to 8 bits, or to 4 with learned steps."""

        def __init__(self, convolution: Convolution, bits: int, **config: Any) -> None:
            base.__init__(self, **config)
            self.convolution, self.bits = convolution, bits

        def build(self, shape: Any) -> None:
            what, add = self.convolution, self.add_weight
            train = what.trainable
            self.kernel = add(shape=what.shape, name="kernel", trainable=train)
            self.bias = add(
                shape=(what.output[-1],),
                name="bias",
                initializer="zeros",
                trainable=train and what.has_bias,
            )
            if self.bits == 4:
                inside = within_channels(what.layout, len(what.shape))
                steps = tuple(1 if axis in inside else n for axis, n in enumerate(what.shape))
                self.steps = add(shape=steps, name="steps", initializer="ones")

        def call(self, x: Any) -> Any:
            if self.bits == 4:
                w = lsq.fake_quantized(self.kernel, self.steps)
            else:
                w = fake_quantized_kernel(self.kernel, self.convolution.layout)
            return self.convolution(x, w) + self.bias

        def compute_output_shape(self, shape: Any) -> Any:
            return self.convolution.output  # Keras would trace the call, which takes longer

        def start_steps(self, steps: np.ndarray) -> None:
            """Set the steps that training starts from."""
            least = np.asarray(LEAST_STEP * steps, np.float32)
            self.steps.assign(steps)
            self.steps.constraint = lambda values: keras.ops.maximum(values, least)

    # The class keeps Keras's name, so that code that looks for normalizations, such as weight averaging, finds it.
    class BatchNormalization(norm):  # type: ignore[misc, valid-type]
        """A BatchNormalization whose statistics can be frozen while training still changes scale and shift."""

        frozen = False

        def call(self, x: Any, training: Any = None, mask: Any = None) -> Any:
            return norm.call(self, x, training=training and not self.frozen, mask=mask)

    class Range(base):  # type: ignore[misc, valid-type]
        """An activation rounded to int8. Its range is a moving mean of the ranges of the batches.

        The ranges of a group, which TFLite requires to be the same, are joined. A fixed range does not change.
        """

        frozen = False

        def __init__(self, fixed: tuple[float, float] | None = None, **config: Any) -> None:
            base.__init__(self, **config)
            self.fixed = fixed
            # A function, because Keras would treat a list of layers as parts of this layer.
            self.group = lambda: [self]

        def build(self, shape: Any) -> None:
            first = self.fixed or (0.0, 0.0)
            self.low, self.high = (
                self.add_weight(
                    shape=(),
                    name=name,
                    initializer=keras.initializers.Constant(value),
                    trainable=False,
                )
                for name, value in zip(("low", "high"), first, strict=True)
            )

        def call(self, x: Any, training: Any = None) -> Any:
            ops = keras.ops
            if training and not (self.frozen or self.fixed):
                for end, value in ((self.low, ops.min(x)), (self.high, ops.max(x))):
                    end.assign(MOMENTUM * end + (1 - MOMENTUM) * ops.stop_gradient(value))
            return fake_quantized(x, *self.joined(ops))

        def compute_output_shape(self, shape: Any) -> Any:
            return shape  # Keras would trace the call, which takes longer

        def joined(self, array: Any) -> tuple[Any, Any]:
            """Least and greatest number of the group's ranges and 0. `array` is an array library."""
            lows, highs = [each.low for each in self.group()], [each.high for each in self.group()]
            return reduce(array.minimum, lows, 0.0), reduce(array.maximum, highs, 0.0)

        def ends(self) -> tuple[float, float]:
            """The numbers that the least and the greatest code stand for."""
            scale, below = grid(*(np.float64(end) for end in self.joined(np)))
            return float(-below * scale), float((CODES - below) * scale)

    class Clip(base):  # type: ignore[misc, valid-type]
        """Limits numbers to 0 to 1. In a file, the codes of the range 0 to 1 do that."""

        def call(self, x: Any) -> Any:
            return keras.ops.clip(x, 0.0, 1.0)

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    return SimpleNamespace(Kernel=QuantizedKernel, Norm=BatchNormalization, Range=Range, Clip=Clip)
