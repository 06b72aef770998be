"""Conversion of a float `.tflite` file to 4-bit kernels and 8-bit activations, by ai-edge-quantizer."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from compress import backend
from compress.tflite import contents
from compress.tflite.flatbuffer import read
from compress.tflite.graph import WEIGHTS, Graph, Operator
from compress.tflite.kernel_matching import StoredKernel

_OTHER_CHANNEL_AXIS = {"DEPTHWISE_CONV_2D": 3}  # axis of the output channels, if it is not 0
# Least end of a channel's grid, as a fraction of the kernel's largest weight: below it a bias may exceed 32 bits.
_LEAST_END = 1e-3


Range = tuple[np.ndarray, np.ndarray]  # least and greatest


class NoIntegers(ValueError):
    """A file has operators that ai-edge-quantizer cannot compute in integers."""

    def __init__(self, operators: list[Operator]) -> None:
        self.operators = operators
        names = ", ".join(sorted({operator.name for operator in operators}))
        ValueError.__init__(
            self,
            f"the 4-bit file would compute {names} in float32, because ai-edge-quantizer has no integer form of it: "
            "use scheme int8.",
        )


def quantized(content: bytes, beyond: Mapping[str, np.ndarray], images: np.ndarray) -> bytes:
    """The integer form of a float `.tflite` file; it takes and gives int8.

    Args:
      beyond: tensor name of each kernel to store in 4 bits -> grid end of each output channel [o], as a multiple of the
        channel's largest weight. All other kernels get 8 bits.
      images: float32 [n, h, w, c] as the model sees them, which give the ranges of activations.

    Raises:
      ValueError: a kernel is not stored as asked, or an operator would compute in floats.
    """
    with backend.stderr_held_back():
        graph = read(content)
        ranges = _ranges(content, images) | _kernel_ranges(graph, beyond)
        aeq, types = backend.ai_edge_quantizer()
        quantizer = aeq.Quantizer(content)
        operations = types.TFLOperationName
        quantizer.add_static_config(".*", operations.ALL_SUPPORTED, 8, 8)
        for scope, operator in _scopes(graph, beyond):
            quantizer.add_static_config(scope, operations(operator), 8, 4)
        seen = {name: {"min": low, "max": high} for name, (low, high) in ranges.items()}
        with warnings.catch_warnings():
            # ai-edge-quantizer keeps all tensors of an interpreter, though it only reads names.
            warnings.filterwarnings("ignore", ".*experimental_preserve_all_tensors")
            result = quantizer.quantize(
                seen, enable_progress_bar=False, enable_progress_report=False
            )
    stored = bytes(result.quantized_model)
    _check_stored(stored, contents.kernels(content), beyond)
    return stored


def _kernel_ranges(graph: Graph, beyond: Mapping[str, np.ndarray]) -> dict[str, Range]:
    """Tensor name -> ends of the grids of a kernel's output channels, in a shape that broadcasts to the stored kernel.

    Args:
      beyond: tensor name -> end of each channel's grid, as a multiple of its largest weight; 1 if absent.
    """
    ranges = {}
    for operator in graph.operators:
        kernel = operator.inputs[WEIGHTS[operator.name][0]] if operator.name in WEIGHTS else None
        if kernel is not None:
            sizes = np.abs(kernel.values())
            channels = _OTHER_CHANNEL_AXIS.get(operator.name, 0)
            others = tuple(axis for axis in range(sizes.ndim) if axis != channels)
            floor = _LEAST_END * sizes.max() or np.float32(1)
            ends = sizes.max(axis=others, keepdims=True)
            if kernel.name in beyond:
                ends = ends * beyond[kernel.name].reshape(ends.shape)
            ends = np.maximum(ends, floor).astype(np.float32)
            ranges[kernel.name] = -ends, ends
    return ranges


def _ranges(content: bytes, images: np.ndarray) -> dict[str, Range]:
    """Tensor name -> least and greatest number of the tensor in a float file, over all images."""
    litert = backend.litert()
    interpreter = litert.Interpreter(
        model_content=content,
        num_threads=1,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    graph = read(content)
    names = {t.name for t in graph.inputs} | {t.name for o in graph.operators for t in o.outputs}
    tensors = [t for t in interpreter.get_tensor_details() if t["name"] in names]
    least, greatest = dict.fromkeys(names, np.inf), dict.fromkeys(names, -np.inf)
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        for tensor in tensors:
            name, values = tensor["name"], interpreter.get_tensor(tensor["index"])
            least[name] = min(least[name], values.min())
            greatest[name] = max(greatest[name], values.max())
    return {name: (_shaped(least[name]), _shaped(greatest[name])) for name in names}


def _shaped(number: float) -> np.ndarray:
    return np.full((1, 1, 1, 1), number, np.float32)  # as ai-edge-quantizer expects it


def _scopes(graph: Graph, tensors: Collection[str]) -> Iterator[tuple[str, str]]:
    """For each operator with one of these kernels: the pattern that selects it in ai-edge-quantizer, and its name."""
    for operator in graph.operators:
        place, _ = WEIGHTS.get(operator.name, (0, 0))
        kernel = operator.inputs[place] if operator.name in WEIGHTS else None
        if kernel is not None and kernel.name in tensors:
            yield f"^{re.escape(operator.outputs[0].name)};$", operator.name


def _check_stored(
    content: bytes, float_kernels: list[StoredKernel], tensors: Collection[str]
) -> None:
    for before, after in zip(float_kernels, contents.kernels(content), strict=True):
        expected = "int4" if before.name in tensors else "int8"
        if after.dtype != expected:
            raise ValueError(
                f"{before.name} would be stored as {after.dtype}, expected {expected}: "
                "use another scheme, or name its layer to --keep."
            )
    floats = [
        operator
        for operator in contents.operators(content)
        if operator.outputs[0].dtype == "float32" and operator.name != "DEQUANTIZE"
    ]
    if floats:
        raise NoIntegers(floats)
