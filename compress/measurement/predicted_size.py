"""Predicted size of a network's `.tflite` file, without training or export."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from compress import backend
from compress.keras_models.graph import graph_of
from compress.keras_models.layers import is_batchnorm, is_depthwise, kernel_names
from compress.keras_models.macs import macs_by_layer
from compress.keras_models.model import KerasModel
from compress.keras_models.rebuild import flattened

Scheme = Literal["float32", "int8", "int4"]
WEIGHT_BITS: dict[Scheme, int] = {"float32": 32, "int8": 8, "int4": 4}
BIAS_BYTES = 4
# A file of integers stores for each output channel a float32 scale of the kernel and one of the bias. A zero point is
# an int64; vectors of equally many zero points are stored once. Convolutions with int4 weights have no bias scales.
SCALE_BYTES, ZERO_POINT_BYTES = 4, 8
# Bytes of tensors and operators: for each kernel with the operators up to the next kernel, and once for each file.
# Fitted by least squares of relative errors over thirteen networks, see `file_bytes`.
KERNEL_BYTES: dict[Scheme, int] = {"float32": 166, "int8": 277, "int4": 260}
GRAPH_BYTES = 850
# A BatchNormalization that does not fold becomes a multiplication and an addition, each with a vector.
UNFOLDED_BYTES: dict[Scheme, int] = {"float32": 350, "int8": 650, "int4": 670}


@dataclass(frozen=True, kw_only=True)
class KernelSize:
    """The numbers that a file stores for one kernel: its weights and a bias for each output channel."""

    weights: int
    channels: int
    depthwise: bool = False
    biased: bool = True  # if not, the file stores zeros once for each number of channels
    dense: bool = False


@dataclass(frozen=True, kw_only=True)
class PredictedSize:
    """The size of a network after training: weights and biases, multiply-accumulates for an image, bytes of files."""

    params: int  # exact; a BatchNormalization is folded into the kernel before it, or is a scale and a shift
    macs: int  # exact
    float32_bytes: int
    int8_bytes: int
    int4_bytes: int


def file_bytes(kernels: Iterable[KernelSize], scheme: Scheme, unfolded: Sequence[int] = ()) -> int:
    """Predicted size of a slim `.tflite` file that stores these kernels.

    Args:
      unfolded: channels of each BatchNormalization that does not fold.

    The bytes of weights (in the scheme's bits, at least 8 for depthwise weights), of biases (in 32 bits), and of the
    scales and zero points of integers are exact. All other bytes are estimated: a number for each kernel, and 850 for
    the file.

    The prediction is within 0.3 % of the files that `KerasModel.to_tflite` and `quantize` write for the plain network
    at widths 0.25, 0.5 and 1 and for ResNets of depth 8 to 32, from 8 KB on. It is for a trained model: the file of an
    untrained model stores its equal biases once.

    >>> file_bytes([KernelSize(weights=1000, channels=10)], "float32") - GRAPH_BYTES - KERNEL_BYTES["float32"]
    4040
    >>> file_bytes([KernelSize(weights=1000, channels=10)], "int4") - GRAPH_BYTES - KERNEL_BYTES["int4"]
    660
    """
    kernels = list(kernels)
    number = WEIGHT_BITS["float32" if scheme == "float32" else "int8"] // 8
    total = GRAPH_BYTES + sum(
        UNFOLDED_BYTES[scheme] + 2 * channels * number for channels in unfolded
    )
    for kernel in kernels:
        bits = max(WEIGHT_BITS[scheme], 8) if kernel.depthwise else WEIGHT_BITS[scheme]
        total += KERNEL_BYTES[scheme] + (kernel.weights * bits + 7) // 8
        total += kernel.channels * SCALE_BYTES * _scales(kernel, scheme, bits)
        total += kernel.channels * BIAS_BYTES if kernel.biased else 0
    total += BIAS_BYTES * sum({kernel.channels for kernel in kernels if not kernel.biased})
    if scheme != "float32":
        total += ZERO_POINT_BYTES * sum({kernel.channels for kernel in kernels})
    return total


def _scales(kernel: KernelSize, scheme: Scheme, bits: int) -> int:
    """The number of scales that are stored for each output channel."""
    if scheme == "float32":
        return 0
    return 2 if bits == 8 or kernel.dense else 1


def predicted_size(model: KerasModel) -> PredictedSize:
    """Exact weights, biases and MACs of a network, and the predicted sizes of its files; see `file_bytes`.

    Raises:
      ValueError: the image size is open.
    """
    network = flattened(model)[0].keras
    folded, unfolded = _normalizations(network)
    kernels = [size for layer in network.layers for size in _kernel_sizes(layer, folded)]
    macs = list(macs_by_layer(network).values())
    if None in macs:
        raise ValueError(
            f"model '{network.name}' takes images of any size: build it for one image shape."
        )
    biases = sum(kernel.channels for kernel in kernels if kernel.biased)
    return PredictedSize(
        params=sum(kernel.weights for kernel in kernels) + biases + 2 * sum(unfolded),
        macs=sum(cost or 0 for cost in macs),
        float32_bytes=file_bytes(kernels, "float32", unfolded),
        int8_bytes=file_bytes(kernels, "int8", unfolded),
        int4_bytes=file_bytes(kernels, "int4", unfolded),
    )


def _normalizations(network: Any) -> tuple[set[str], list[int]]:
    """The layers that a BatchNormalization folds into, and the channels of each one that does not fold."""
    graph, folded, unfolded = graph_of(network), set[str](), list[int]()
    for call in graph.calls:
        if is_batchnorm(call.layer):
            before = graph.makers.get(id(call.inputs[0]))
            if before is not None and kernel_names(before.layer):
                folded.add(before.layer.name)
            else:
                unfolded.append(call.layer.moving_mean.shape[0])
    return folded, unfolded


def _kernel_sizes(layer: Any, folded: Collection[str]) -> Iterator[KernelSize]:
    for name, attribute in kernel_names(layer).items():
        shape, depthwise = getattr(layer, attribute).shape, is_depthwise(name)
        channels = shape[-2] * shape[-1] if depthwise else layer.output.shape[-1]
        biased = getattr(layer, "use_bias", True) or layer.name in folded
        dense = isinstance(layer, backend.keras().layers.Dense)
        yield KernelSize(
            weights=math.prod(shape),
            channels=channels,
            depthwise=depthwise,
            biased=biased,
            dense=dense,
        )
