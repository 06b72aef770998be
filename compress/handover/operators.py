"""The methods of TFLM's `MicroMutableOpResolver` for the operators of a file."""

from __future__ import annotations

from compress.tflite.decode import NAME
from compress.tflite.graph import Graph

# Methods that are not the operator's name in camel case; from tensorflow/lite/micro/micro_mutable_op_resolver.h.
_METHODS = {
    NAME: "AddDecode",
    "AVERAGE_POOL_2D": "AddAveragePool2D",
    "BATCH_MATMUL": "AddBatchMatMul",
    "CONV_2D": "AddConv2D",
    "CUMSUM": "AddCumSum",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
    "L2_POOL_2D": "AddL2Pool2D",
    "MAX_POOL_2D": "AddMaxPool2D",
    "PADV2": "AddPadV2",
    "SELECT_V2": "AddSelectV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
}


def methods(graph: Graph) -> list[str]:
    """The methods that register every operator of a file, each once, sorted.

    >>> from compress.tflite.graph import Operator
    >>> methods(Graph((), (), (Operator("CONV_2D", (), (), 0), Operator("FULLY_CONNECTED", (), (), 0))))
    ['AddConv2D', 'AddFullyConnected']
    """
    names = {operator.name for operator in graph.operators} | ({NAME} if graph.encoded else set())
    return sorted(_METHODS.get(name) or f"add_{name}".title().replace("_", "") for name in names)
