"""Export of a model trained with fake quantization to a `.tflite` file that stores exactly the trained codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from compress.keras_models.graph import Graph, graph_of
from compress.keras_models.layers import is_batchnorm
from compress.quantization.fake_quant import CODES, QMAX, codes_of, largest_weights
from compress.quantization.qat_deployed import Codes, with_trained_ranges
from compress.quantization.qat_form import FIXED, is_softmax
from compress.quantization.qat_layers import layers
from compress.tflite import contents
from compress.tflite.convert import converted
from compress.tflite.graph import WEIGHTS, Operator
from compress.tflite.int4_weights import stored_in_int4
from compress.tflite.kernel_matching import StoredKernel
from compress.tflite.model import TFLiteModel
from compress.tflite.slim import slim

_BIAS_STEPS = 2  # largest difference between a trained bias and the stored one
_LARGEST_BIAS = 2**30  # in steps; 32 bits hold twice as many


def codes_by_layer(training: Any) -> dict[str, Codes]:
    """Layer name -> the numbers that a file stores for the layer."""
    graph, own = graph_of(training), layers()
    stored = {}
    for call in graph.calls:
        if isinstance(call.layer, own.Kernel):
            user = graph.sole_user(call)
            norm = user.layer if user is not None and is_batchnorm(user.layer) else None
            stored[call.layer.name] = folded(call.layer, norm, _step_of(graph, call.inputs[0]))
    return stored


def folded(layer: Any, norm: Any, input_step: float) -> Codes:
    """The codes of a layer, with the BatchNormalization after it folded in, if there is one.

    The normalization's factor for a channel scales the channel's step. A negative factor changes the signs of the
    codes, and a factor of 0 makes them 0. They also become 0 if factor or kernel are so small compared with the bias
    that the bias, in steps of input times kernel, does not fit into 32 bits.
    """
    w, bias = np.array(layer.kernel, np.float64), np.array(layer.bias, np.float64)
    layout = layer.convolution.layout
    # In float32, as in training: a weight between two codes must get the same code here.
    kernel = np.array(layer.kernel)
    if layer.bits == 4:
        steps = np.array(layer.steps)
    else:
        steps = (largest_weights(kernel, layout) / np.float32(QMAX[8])).astype(np.float32)
    codes, steps = codes_of(kernel, steps, layer.bits), steps.astype(np.float64)
    if norm is not None:
        deviation = np.sqrt(np.array(norm.moving_variance, np.float64) + norm.epsilon)
        factor = (np.array(norm.gamma, np.float64) if norm.scale else 1.0) / deviation
        bias = (bias - np.array(norm.moving_mean)) * factor + (
            np.array(norm.beta) if norm.center else 0.0
        )
        along = factor.reshape(steps.shape)
        codes, steps = (codes * np.sign(along)).astype(np.int8), steps * np.abs(along)
    along = np.abs(bias).reshape(steps.shape) if steps.size > 1 else np.abs(bias).max(keepdims=True)
    codes[np.broadcast_to(along >= _LARGEST_BIAS * input_step * steps, codes.shape)] = 0
    learns_bias = layer.convolution.has_bias or norm is not None
    # A channel of zeros may have any step.
    empty = ~codes.any(axis=tuple(a for a in range(w.ndim) if steps.shape[a] == 1), keepdims=True)
    others = np.where(empty, 0, steps).max(initial=0)
    return Codes(codes, np.where(empty, others or 1.0, steps), bias, layer.bits, learns_bias)


def exported(training: Any) -> TFLiteModel:
    """The integer file of a model in training, with its 4-bit kernels in int4; not slimmed yet.

    Raises:
      ValueError: the file would not store the trained codes.
    """
    return _file(training, codes_by_layer(training))


def check_codes(file: TFLiteModel, training: Any) -> None:
    """Raise ValueError, which names the layer, unless a file stores every code as it was trained."""
    tensors_of(file, codes_by_layer(training))


def file_bytes(training: Any) -> int:
    """Bytes of the slim file that the model will have after training.

    Biases are random here: a slim file stores equal biases once, and training makes them differ.
    """
    rng = np.random.default_rng(0)
    stored = {
        name: replace(layer, bias=rng.uniform(1, 2, layer.bias.shape))
        if layer.learns_bias
        else layer
        for name, layer in codes_by_layer(training).items()
    }
    return len(slim(_file(training, stored).content, int4_bias_scales=False))


def _file(training: Any, stored: Mapping[str, Codes]) -> TFLiteModel:
    file = TFLiteModel(converted(with_trained_ranges(training, stored), "int8"))
    tensors = tensors_of(file, stored)
    coarse = {tensors[name] for name, layer in stored.items() if layer.bits == 4}
    if coarse:
        file = TFLiteModel(stored_in_int4(file.content, coarse))
        tensors_of(file, stored)
    return file


def tensors_of(file: TFLiteModel, stored: Mapping[str, Codes]) -> dict[str, str]:
    """Layer name -> name of the tensor that holds its kernel.

    Raises:
      ValueError: no kernel of the file has the codes of a layer, and its bias to within `_BIAS_STEPS` steps. Each
        kernel of the file counts for one layer.
    """
    operators = [operator for operator in file.graph.operators if operator.name in WEIGHTS]
    left = list(zip(contents.kernels_in(file.graph), operators, strict=True))
    tensors = {}
    for name, layer in stored.items():
        wrong = [(_differing(kernel, layer.codes), kernel, operator) for kernel, operator in left]
        fewest = min((n for n, _, _ in wrong if n is not None), default=layer.codes.size)
        same = [(kernel, operator) for n, kernel, operator in wrong if n == 0]
        biases = [_bias_steps_apart(operator, layer) for _, operator in same]
        if not same or min(biases) > _BIAS_STEPS:
            what = f"{fewest} of {layer.codes.size} codes" if fewest else "biases"
            raise ValueError(
                f"the file would not store what layer '{name}' was trained with: {what} differ, expected none."
            )
        chosen = same[int(np.argmin(biases))]
        left.remove(chosen)
        tensors[name] = chosen[0].name
    return tensors


def _differing(stored: StoredKernel, codes: np.ndarray) -> int | None:
    """The number of codes that differ in a stored kernel; None if the kernel has another size."""
    if stored.values.size != codes.size:
        return None
    return int(np.sum(stored.values.reshape(codes.shape) != codes))


def _bias_steps_apart(operator: Operator, layer: Codes) -> float:
    """The largest difference between a bias in the file and the trained one, in steps of the file."""
    place = 3 if operator.name == "TRANSPOSE_CONV" else 2
    bias = operator.inputs[place] if len(operator.inputs) > place else None
    if bias is None:
        return float("inf") if layer.bias.any() else 0.0
    if not bias.scales:
        return 0.0  # a slim file has no scales where no runtime reads them
    codes = bias.values().astype(np.float64)
    apart = np.abs(codes - layer.bias / np.array(bias.scales))
    # The converter divides in float32.
    return float((apart / (1 + 1e-6 * np.abs(codes))).max())


def _step_of(graph: Graph, tensor: Any) -> float:
    """The step of a tensor's int8 codes: that of the nearest layer before it that sets a range."""
    layer = graph.makers[id(tensor)].layer
    if isinstance(layer, layers().Range) or is_softmax(layer):
        low, high = layer.ends() if isinstance(layer, layers().Range) else FIXED["softmax"]
        return float(high - low) / CODES
    return _step_of(graph, graph.makers[id(tensor)].inputs[0])
