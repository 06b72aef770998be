"""The content of a `.tflite` file: its operators, its weights, and the Keras layer that each kernel came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from compress.tflite.flatbuffer import read
from compress.tflite.graph import WEIGHTS, Graph, Operator
from compress.tflite.kernel_matching import StoredKernel, match
from compress.tflite.tensor import Tensor

# Operator -> index of the bias among its inputs: after the weights, and in TRANSPOSE_CONV also after the image.
_BIAS = {name: 3 if name == "TRANSPOSE_CONV" else 2 for name in WEIGHTS}
# Arithmetic with one stored value per channel. A BatchNormalization that cannot be folded becomes such operators.
_PER_CHANNEL = ("ADD", "SUB", "MUL", "DIV", "PRELU")
_UNPACKING = ("DEQUANTIZE", "DENSIFY")


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A constant that carries parameters, with the operator that first uses it."""

    role: Literal["kernel", "bias", "per channel"]
    operator: Operator
    tensor: Tensor


def operators(content: bytes) -> list[Operator]:
    """The operators of the main subgraph in the order in which they run."""
    return list(read(content).operators)


def stored_tensors(content: bytes) -> list[StoredTensor]:
    """Every constant that carries parameters, in execution order. A constant that is used twice is listed once."""
    return stored_in(read(content))


def stored_in(graph: Graph) -> list[StoredTensor]:
    """The same as `stored_tensors`, for a file that is already parsed."""
    producers = graph.producers()
    for operator in graph.operators:
        if operator.name in WEIGHTS:
            _weights(operator, producers)
    return [
        StoredTensor(role, operator, constant)
        for operator, place, constant in constants_in(graph)
        if (role := _role(operator, place, constant))
    ]


def constants_in(graph: Graph) -> list[tuple[Operator, int, Tensor]]:
    """Every constant, with the first operator that uses it and its index among the inputs of that operator.

    If an operator only unpacks a constant, the constant belongs to the operator that uses the unpacked tensor.
    """
    producers = graph.producers()
    constants: dict[Any, tuple[Operator, int, Tensor]] = {}
    for operator in graph.operators:
        if not is_unpacking(operator):
            for place, tensor in enumerate(operator.inputs):
                constant = _constant(tensor, producers)
                if constant is not None:
                    # In a slim file, tensors of different types or shapes share one buffer if their bytes are equal.
                    kind = (constant.buffer, constant.dtype, constant.shape)
                    constants.setdefault(kind, (operator, place, constant))
    return list(constants.values())


def is_unpacking(operator: Operator) -> bool:
    """True if an operator only changes the data type of a constant: this is storage, not arithmetic."""
    source = operator.inputs[0] if operator.inputs else None
    return operator.name in _UNPACKING and source is not None and len(source.data) > 0


def kernels(content: bytes) -> list[StoredKernel]:
    """The kernel of every convolution and dense operator, in execution order, in Keras axis order.

    Conv2D [h, w, i, o], DepthwiseConv2D [h, w, c, m], Dense [i, o], Conv2DTranspose [h, w, o, i]; a Conv1D is a
    Conv2D with h = 1. The zero point is subtracted from integers, so that a zero weight is 0.
    """
    return kernels_in(read(content))


def kernels_in(graph: Graph) -> list[StoredKernel]:
    """The same as `kernels`, for a file that is already parsed."""
    producers = graph.producers()
    return [_kernel(o, producers) for o in graph.operators if o.name in WEIGHTS]


def matched_kernels(graph: Graph, keras_kernels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Layer name -> the kernel that the file stores for it, in the shape of the Keras kernel.

    Args:
      keras_kernels: layer name -> kernel of the model that was exported.

    Raises:
      ValueError: the file has no kernel for a layer; the message names the layer.
    """
    return match(kernels_in(graph), keras_kernels)


def stored_params(stored: Sequence[StoredTensor]) -> int:
    """Number of values that the tensors hold."""
    return sum(s.tensor.values().size for s in stored)


def nonzero_params(stored: Sequence[StoredTensor]) -> int:
    """Number of values in the tensors that represent a number other than 0."""
    return sum(int(np.count_nonzero(s.tensor.centred())) for s in stored)


def sparsity(stored: Sequence[StoredTensor]) -> float:
    """Fraction of kernel weights that are zero, over all kernels.

    Raises:
      ValueError: there is no kernel.
    """
    kernel = [s for s in stored if s.role == "kernel"]
    if not kernel:
        raise ValueError(
            "this TFLite file has no convolution or dense operator: nothing to measure."
        )
    numbers = stored_params(kernel)
    return (numbers - nonzero_params(kernel)) / numbers if numbers else 0.0


def kernel_sparsity(stored: Sequence[StoredTensor]) -> dict[str, float]:
    """Tensor name, or operator name if it has none -> fraction of zero weights. A repeated name gets a number."""
    sparsities: dict[str, float] = {}
    for s in stored:
        if s.role == "kernel":
            first = s.tensor.name or s.operator.name.lower()
            name, number = first, 2
            while name in sparsities:
                name, number = f"{first} ({number})", number + 1
            sparsities[name] = sparsity([s])
    return sparsities


def weight_types(stored: Sequence[StoredTensor]) -> dict[str, int]:
    """Data type -> number of values stored in it. These numbers add up to `stored_params`."""
    counts: Counter[str] = Counter()
    for s in stored:
        counts[s.tensor.dtype] += s.tensor.values().size
    return dict(counts)


def ends_in_softmax(graph: Graph) -> bool:
    """True if the file's last operator is a softmax. A conversion of the data type after it does not count."""
    producers = graph.producers()
    last = producers.get(graph.outputs[0])
    if last and last.name in ("DEQUANTIZE", "QUANTIZE") and last.inputs[0]:
        last = producers.get(last.inputs[0])
    return last is not None and last.name == "SOFTMAX"


def _role(
    operator: Operator, place: int, constant: Tensor
) -> Literal["kernel", "bias", "per channel"] | None:
    if operator.name in WEIGHTS:
        if place == WEIGHTS[operator.name][0]:
            return "kernel"
        return "bias" if place == _BIAS[operator.name] else None
    several = max(constant.shape, default=1) > 1
    return "per channel" if operator.name in _PER_CHANNEL and several else None


def _constant(tensor: Tensor | None, producers: Mapping[Tensor, Operator]) -> Tensor | None:
    """The constant stored for a tensor, or for the packed tensor that it is unpacked from; None if it is computed."""
    if tensor is None or len(tensor.data):
        return tensor
    maker = producers.get(tensor)
    return maker.inputs[0] if maker and is_unpacking(maker) else None


def _weights(operator: Operator, producers: Mapping[Tensor, Operator]) -> Tensor:
    tensor = operator.inputs[WEIGHTS[operator.name][0]]
    constant = _constant(tensor, producers)
    if constant is None:
        raise ValueError(
            f"the weights {tensor.name if tensor else ''!r} of a {operator.name} are not stored in this TFLite "
            "file as a constant: export the model with its variables frozen."
        )
    return constant


def _kernel(operator: Operator, producers: Mapping[Tensor, Operator]) -> StoredKernel:
    constant, image = _weights(operator, producers), operator.inputs[0]
    values = constant.centred()
    channels: tuple[int, ...]
    if operator.name == "CONV_2D":  # from [o, h, w, i]
        values, channels = values.transpose(1, 2, 3, 0), (3,)
    elif operator.name == "FULLY_CONNECTED":  # from [o, i]
        values, channels = values.transpose(1, 0), (1,)
    elif operator.name == "TRANSPOSE_CONV":  # from [o, h, w, i]
        values, channels = values.transpose(1, 2, 0, 3), (2,)
    else:  # from [1, h, w, c * m]
        wide = image.shape[-1] if image and image.shape else 0
        if not wide or values.shape[3] % wide:
            raise ValueError(
                f"this is not a readable TFLite file: {values.shape[3]} depthwise filters do not fit {wide} channels."
            )
        values, channels = values.reshape(*values.shape[1:3], wide, -1), (2, 3)
    return StoredKernel(constant.name, operator.name, constant.dtype, values, channels)
