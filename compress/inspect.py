"""A model file layer by layer, as plain data: what each layer is, holds and costs."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress import backend, layers, model_file, tflite_file
from compress.model import KerasModel, TFLiteModel
from compress.tflite_reader import Operator, read
from compress.tflite_tensor import Tensor

Record = dict[str, Any]


def rows_of(model: Path | KerasModel | TFLiteModel) -> list[Record]:
    """One record per layer or operator, in order, and a last one of totals.

    Keys: name, type, output_shape (without the batch axis), dtype (of the weights; of the output if there are none),
    parameters, nonzero, macs (for one image; None if the image size is open), bytes (of its numbers as stored).
    """
    if isinstance(model, Path):
        model = model_file.load(model)
    if isinstance(model, KerasModel):
        rows = list(_keras_rows(model.keras, ""))
        shape = _without_batch(model.keras.output_shape)
    else:
        rows = _tflite_rows(model.content)
        shape = _without_batch(read(model.content).outputs[0].shape)
    return [*rows, _total(rows, model.format, shape)]


def _keras_rows(model: Any, prefix: str) -> Iterator[Record]:
    calls = _calls(model)
    for layer in model.layers:
        if isinstance(layer, backend.keras().Model):
            yield from _keras_rows(layer, f"{prefix}{layer.name}/")
            continue
        weights = [np.array(w) for w in layer.weights]
        one_call = _keras_macs(layer)
        yield {
            "name": prefix + layer.name,
            "type": type(layer).__name__,
            "output_shape": _without_batch(layer.output.shape),
            "dtype": str(weights[0].dtype if weights else layer.compute_dtype),
            "parameters": sum(w.size for w in weights),
            "nonzero": sum(int(np.count_nonzero(w)) for w in weights),
            "macs": None if one_call is None else one_call * calls[layer.name],
            "bytes": sum(w.nbytes for w in weights),
        }


def _keras_macs(layer: Any) -> int | None:
    """Multiply-accumulates of one call: every number of a kernel meets the image once at every position."""
    names = layers.kernel_names(layer).values()
    if not names:
        return 0
    # A transposed convolution slides over its input, all others give one output per position.
    slides = layer.input if type(layer).__name__ == "Conv2DTranspose" else layer.output
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    positions = slides.shape[2:] if first else slides.shape[1:-1]
    if None in positions:
        return None
    return math.prod(positions) * sum(math.prod(getattr(layer, n).shape) for n in names)


def _calls(model: Any) -> Counter[str]:
    """Layer name -> how often the model calls it: once, or more if the layer is shared."""
    if isinstance(model, backend.keras().Sequential):
        return Counter(layer.name for layer in model.layers)
    steps = model.get_config()["layers"]
    return Counter({step["name"]: len(step["inbound_nodes"]) for step in steps})


def _tflite_rows(content: bytes) -> list[Record]:
    graph = read(content)
    parameters: defaultdict[Operator, list[tflite_file.StoredTensor]] = defaultdict(list)
    for stored in tflite_file.stored_in(graph):
        parameters[stored.operator].append(stored)
    held: Counter[Operator] = Counter()
    for operator, _, constant in tflite_file.constants_in(graph):
        held[operator] += len(constant.data)
    rows = [
        _tflite_row(operator, operator.outputs[0], parameters[operator], held[operator])
        for operator in graph.operators
        if not tflite_file.is_unpacking(operator)
    ]
    structure = {"name": "structure and names", "type": "", "output_shape": [], "dtype": ""}
    rest = {"parameters": 0, "nonzero": 0, "macs": 0, "bytes": len(content) - sum(held.values())}
    return [*rows, structure | rest]


def _tflite_row(
    operator: Operator, output: Tensor, stored: Sequence[tflite_file.StoredTensor], held: int
) -> Record:
    return {
        "name": output.name.partition(";")[0],  # of fused operators, the last
        "type": operator.name,
        "output_shape": _without_batch(output.shape),
        "dtype": stored[0].tensor.dtype if stored else output.dtype,
        "parameters": tflite_file.stored_params(stored),
        "nonzero": tflite_file.nonzero_params(stored),
        "macs": operator.macs,
        "bytes": held,
    }


def _total(rows: Sequence[Record], format: str, output_shape: list[int | None]) -> Record:
    macs = [row["macs"] for row in rows]
    return {
        "name": "total",
        "type": format,
        "output_shape": output_shape,
        "dtype": "",
        "parameters": sum(row["parameters"] for row in rows),
        "nonzero": sum(row["nonzero"] for row in rows),
        "macs": None if None in macs else sum(macs),
        "bytes": sum(row["bytes"] for row in rows),
    }


def _without_batch(shape: Sequence[int | None]) -> list[int | None]:
    return list(shape[1:])
