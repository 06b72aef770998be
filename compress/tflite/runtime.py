"""Find the lowest TFLite runtime that supports every operator version of a file and the types of its weights."""

from __future__ import annotations

from collections.abc import Mapping

from compress.tflite.graph import WEIGHTS, Graph

# Operator of image networks -> the TensorFlow releases whose runtimes first supported its versions 1, 2, 3 and so on.
# Source: https://github.com/google-ai-edge/LiteRT/blob/main/tflite/tools/versioning/runtime_version.cc.
_FIRST = """
ADD 1.5.0 1.14.0 2.4.0 2.6.0 2.13.0
AVERAGE_POOL_2D 1.5.0 1.14.0 2.3.0
CAST 1.5.0 2.7.0 2.8.0 2.9.0 2.12.0 2.15.0 2.17.0
CONCATENATION 1.5.0 1.14.0 2.3.0 2.14.0
CONV_2D 1.5.0 1.14.0 1.14.0 2.3.0 2.4.0 2.9.0 2.11.0 2.15.0
DEPTHWISE_CONV_2D 1.5.0 1.12.0 1.14.0 2.2.0 2.3.0 2.3.0 2.11.0
DEQUANTIZE 1.13.1 1.14.0 1.15.0 2.2.0 2.7.0 2.18.0
DIV 1.6.0 2.3.0
ELU 1.14.0
FULLY_CONNECTED 1.5.0 1.10.0 1.14.0 1.14.0 2.0.0 2.1.0 2.3.0 2.3.0 2.3.0 2.11.0 2.15.0 2.17.0 2.18.0
HARD_SWISH 1.15.0
LEAKY_RELU 1.13.1 2.3.0
LOGISTIC 1.14.0 1.14.0 2.3.0
MAX_POOL_2D 1.5.0 1.14.0 2.3.0
MAXIMUM 1.14.0 1.14.0 2.3.0 2.3.0
MEAN 1.6.0 1.14.0 2.4.0
MINIMUM 1.14.0 1.14.0 2.3.0 2.3.0
MUL 1.5.0 1.14.0 1.15.0 2.3.0 2.6.0 2.11.0 2.13.0
PAD 1.5.0 1.14.0 2.4.0 2.6.0
PRELU 1.8.0
QUANTIZE 1.14.0 1.15.0 2.7.0
REDUCE_MAX 1.11.0 1.14.0 2.5.0
RELU 1.5.0 2.1.0 2.5.0
RELU6 1.5.0 1.14.0 2.5.0
RESHAPE 1.5.0
RESIZE_BILINEAR 1.7.0 1.14.0 2.2.0 2.5.0
RESIZE_NEAREST_NEIGHBOR 1.13.1 1.14.0 2.3.0 2.4.0
SHAPE 1.10.0
SOFTMAX 1.5.0 1.14.0 2.3.0
SQUEEZE 1.6.0 2.5.0
STRIDED_SLICE 1.6.0 1.14.0 2.1.0 2.2.0 2.5.0 2.6.0 2.14.0 2.14.0
SUB 1.6.0 1.14.0 2.3.0 2.4.0 2.4.0
SUM 1.10.0 1.15.0
TANH 1.14.0 1.14.0 2.3.0
TRANSPOSE 1.6.0 1.14.0 1.15.0 2.3.0 2.4.0 2.12.0
TRANSPOSE_CONV 1.9.0 2.2.0 2.3.0 2.13.0 2.15.0
"""
# Type of weights -> the release that first supported it. ai-edge-quantizer does not raise the versions of operators.
_FIRST_OF_TYPE: Mapping[str, str] = {
    "float32": "1.5.0",
    "float16": "1.5.0",  # a DEQUANTIZE follows, whose version covers float16
    "int8": "1.14.0",
    "int4": "2.11.0",
}


def lowest_runtime(graph: Graph) -> str | None:
    """The first TensorFlow release whose runtime can run the file; None if there is none or it is not known.

    It is not known if an operator or a type of weights is not listed here. There is none if weights are encoded for
    TFLM. A file without operators runs on the first release.
    """
    if graph.encoded:
        return None
    first = {name: releases for name, *releases in map(str.split, _FIRST.strip().splitlines())}
    needed = ["1.5.0"]
    for operator in graph.operators:
        releases = first.get(operator.name, [])
        if not 1 <= operator.version <= len(releases):
            return None
        needed.append(releases[operator.version - 1])
        weights = operator.inputs[WEIGHTS[operator.name][0]] if operator.name in WEIGHTS else None
        if weights is not None:
            if weights.dtype not in _FIRST_OF_TYPE:
                return None
            needed.append(_FIRST_OF_TYPE[weights.dtype])
    return max(needed, key=lambda release: [int(part) for part in release.split(".")])
