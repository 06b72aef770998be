"""From a model trained by fake quantization to its `.tflite` file, which stores exactly the codes that were trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from compress import backend
from compress.keras_models.graph import Graph, graph_of
from compress.keras_models.layers import is_batchnorm
from compress.keras_models.rebuild import LayerSpec, rebuilt
from compress.quantization.fake_quant import CODES, QMAX, codes_of, largest_weights
from compress.quantization.qat_form import FIXED, is_softmax
from compress.quantization.qat_layers import layers
from compress.tflite import contents
from compress.tflite.convert import converted
from compress.tflite.flatbuffer import WEIGHTS, Operator
from compress.tflite.int4_weights import stored_in_int4
from compress.tflite.kernel_matching import StoredKernel
from compress.tflite.model import TFLiteModel
from compress.tflite.slim import slim

_BIAS_STEPS = 2  # between a bias and its nearest code
_LARGEST_BIAS = 2**30  # in steps; 32 bits hold one of twice as many


@dataclass(frozen=True, eq=False)
class Codes:
    """What a file stores of a layer with a kernel, its BatchNormalization folded in."""

    codes: np.ndarray  # int8, in the kernel's shape
    steps: np.ndarray  # float64, in a shape that broadcasts to it; positive
    bias: np.ndarray  # float64 [channels]
    bits: int
    learns_bias: bool  # else it is zero


def codes_by_layer(training: Any) -> dict[str, Codes]:
    """Layer name -> what a file stores of it."""
    graph, own = graph_of(training), layers()
    stored = {}
    for call in graph.calls:
        if isinstance(call.layer, own.Kernel):
            user = graph.sole_user(call)
            norm = user.layer if user is not None and is_batchnorm(user.layer) else None
            stored[call.layer.name] = folded(call.layer, norm, _step_of(graph, call.inputs[0]))
    return stored


def folded(layer: Any, norm: Any, input_step: float) -> Codes:
    """The codes of a layer and of the BatchNormalization after it, if there is one.

    A factor of a channel changes its step. A negative one turns the signs of the codes, and 0 makes them 0. So does a
    factor or kernel so small beside the bias that this, in steps of input times kernel, does not fit into 32 bits.
    """
    w, bias = np.array(layer.kernel, np.float64), np.array(layer.bias, np.float64)
    layout = layer.convolution.layout
    # In float32, as training divides: a weight between two codes must get the same one here.
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
    """The file of a model in training, in integers, with its kernels of 4 bits in int4; not slim yet.

    Raises:
      ValueError: the file would store other codes than were trained.
    """
    return _file(training, codes_by_layer(training))


def file_bytes(training: Any) -> int:
    """Bytes of the slim file of a model after any training: equal biases are stored once, and training parts them."""
    rng = np.random.default_rng(0)
    stored = {
        name: replace(layer, bias=rng.uniform(1, 2, layer.bias.shape))
        if layer.learns_bias
        else layer
        for name, layer in codes_by_layer(training).items()
    }
    return len(slim(_file(training, stored).content, int4_bias_scales=False))


def _file(training: Any, stored: Mapping[str, Codes]) -> TFLiteModel:
    file = TFLiteModel(converted(_with_trained_ranges(training, stored), "int8"))
    tensors = tensors_of(file, stored)
    coarse = {tensors[name] for name, layer in stored.items() if layer.bits == 4}
    if coarse:
        file = TFLiteModel(stored_in_int4(file.content, coarse))
        tensors_of(file, stored)
    return file


def tensors_of(file: TFLiteModel, stored: Mapping[str, Codes]) -> dict[str, str]:
    """Layer name -> name of the tensor that holds its kernel.

    Raises:
      ValueError: no kernel of the file, each being taken once, has the codes of a layer and its bias to half a step.
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
    """How many codes of a stored kernel are others; None if its size is another."""
    if stored.values.size != codes.size:
        return None
    return int(np.sum(stored.values.reshape(codes.shape) != codes))


def _bias_steps_apart(operator: Operator, layer: Codes) -> float:
    """The largest difference between a bias in the file and the trained one, in steps of the file."""
    place = 3 if operator.name == "TRANSPOSE_CONV" else 2
    bias = operator.inputs[place] if len(operator.inputs) > place else None
    if bias is None:
        return float("inf") if layer.bias.any() else 0.0
    codes = bias.values().astype(np.float64)
    apart = np.abs(codes - layer.bias / np.array(bias.scales))
    # The converter divides in float32.
    return float((apart / (1 + 1e-6 * np.abs(codes))).max())


def _step_of(graph: Graph, tensor: Any) -> float:
    """The step of the int8 codes of a tensor, whose range is that of the tensor it came from unchanged."""
    layer = graph.makers[id(tensor)].layer
    if isinstance(layer, layers().Range) or is_softmax(layer):
        low, high = layer.ends() if isinstance(layer, layers().Range) else FIXED["softmax"]
        return float(high - low) / CODES
    return _step_of(graph, graph.makers[id(tensor)].inputs[0])


def _with_trained_ranges(training: Any, stored: Mapping[str, Codes]) -> Any:
    """The model as TensorFlow's converter reads it: constants, and the operation that says the range of each tensor."""
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
        elif not is_batchnorm(layer):
            continue
        instead[layer.name] = spec
    return rebuilt(training, instead)


@cache
def _deployed() -> Any:
    """The classes `Constant`, a convolution whose weights are known, and `Fixed`, a tensor whose range is."""
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
                # The last axis has the ranges; of a depthwise kernel both of the last.
                flat = w if w.shape[-1] == ends.size else w.reshape(*w.shape[:2], 1, -1)
                flat = ranged.fake_quant_with_min_max_vars_per_channel(
                    flat, -ends, ends, narrow_range=True
                )
                w = flat if flat.shape == w.shape else tf.reshape(flat, w.shape)
            bias = self.stored.bias.astype(np.float32)
            if bias.size > 1 and np.ptp(bias) == 0 != bias[0]:
                # The converter takes equal biases for one, and divides all of them by the step of the first channel.
                bias[0] = np.nextafter(bias[0], np.float32(0))
            if len(self.convolution.shape) == 4:
                return self.convolution(x, w) + bias
            # Rows and vectors as images of one row: the converter knows steps by channel of convolutions in two
            # dimensions alone.
            *before, inputs = x.shape[1:]
            image = tf.reshape(x, [-1, *[1] * (2 - len(before)), *before, inputs])
            options = {
                name: value if name == "padding" else (1, *value)
                for name, value in self.convolution.options.items()
            }
            result = keras.ops.conv(image, w, **options) + bias
            return tf.reshape(result, [-1, *result.shape[3 - len(before) : 3], result.shape[3]])

    return SimpleNamespace(Constant=Constant, Fixed=Fixed)
