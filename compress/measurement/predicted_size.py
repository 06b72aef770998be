"""Predicted size of a network's `.tflite` file, without training or export."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from compress.keras_models.graph import graph_of
from compress.keras_models.layers import is_batchnorm, is_depthwise, kernel_names
from compress.keras_models.macs import macs_by_layer
from compress.keras_models.model import KerasModel
from compress.keras_models.rebuild import flattened

Scheme = Literal["float32", "int8", "int4"]
WEIGHT_BITS: dict[Scheme, int] = {"float32": 32, "int8": 8, "int4": 4}
BIAS_BYTES = 4
# With integers, for each output channel: a float32 scale and an int64 zero point, of the kernel and of the bias.
CHANNEL_BYTES = 2 * (4 + 8)
# Bytes of tensors, names and operators: for each kernel with the operators up to the next one, and once a file. Fitted
# by least squares of relative errors over thirteen networks, see `file_bytes`.
KERNEL_BYTES: dict[Scheme, int] = {"float32": 580, "int8": 680, "int4": 655}
GRAPH_BYTES = 1_200
# A BatchNormalization that does not fold is a multiplication and an addition, each by a vector.
UNFOLDED_BYTES = 1_000


@dataclass(frozen=True, kw_only=True)
class KernelSize:
    """What a file stores for one kernel: its weights and a bias for each output channel."""

    weights: int
    channels: int
    depthwise: bool = False
    biased: bool = True  # if not, the file holds zeros


@dataclass(frozen=True, kw_only=True)
class PredictedSize:
    """Of a network after training: weights and biases, multiply-accumulates for one image, bytes of its files."""

    params: int  # exact, with each BatchNormalization folded into the kernel before it, or else a scale and a shift
    macs: int  # exact
    float32_bytes: int
    int8_bytes: int
    int4_bytes: int


def file_bytes(kernels: Iterable[KernelSize], scheme: Scheme, unfolded: Sequence[int] = ()) -> int:
    """Predicted size of a `.tflite` file that stores these kernels.

    Args:
      unfolded: channels of each BatchNormalization that does not fold.

    Weights in the scheme's bits, depthwise ones in at least 8, and biases in 32 are exact. So are scales and zero
    points: 24 bytes for each output channel where numbers are integers. All else is estimated: a number of bytes for
    each kernel, and 1,200 for the file.

    Within 1.2 % of what `KerasModel.to_tflite` and `quantize` write for the plain network at widths 0.25, 0.5 and 1
    and for ResNets of depth 8 to 32, from 17 KB on; within 3.5 % below. Long names of layers make files larger. The
    file is that of a trained model: one that has seen no image stores its equal biases once.

    >>> file_bytes([KernelSize(weights=1000, channels=10)], "float32") - GRAPH_BYTES - KERNEL_BYTES["float32"]
    4040
    >>> file_bytes([KernelSize(weights=1000, channels=10)], "int4") - GRAPH_BYTES - KERNEL_BYTES["int4"]
    780
    """
    number = WEIGHT_BITS["float32" if scheme == "float32" else "int8"] // 8
    total = GRAPH_BYTES + sum(UNFOLDED_BYTES + 2 * channels * number for channels in unfolded)
    for kernel in kernels:
        bits = max(WEIGHT_BITS[scheme], 8) if kernel.depthwise else WEIGHT_BITS[scheme]
        total += KERNEL_BYTES[scheme] + (kernel.weights * bits + 7) // 8
        total += kernel.channels * (BIAS_BYTES + (0 if scheme == "float32" else CHANNEL_BYTES))
    return total


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
        yield KernelSize(
            weights=math.prod(shape), channels=channels, depthwise=depthwise, biased=biased
        )
