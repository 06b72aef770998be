"""A model layer by layer, as plain data: the type, parameters, MACs and bytes of each layer."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from compress import backend
from compress.keras_models.macs import macs_by_layer
from compress.keras_models.model import KerasModel
from compress.tflite import contents
from compress.tflite.graph import Operator
from compress.tflite.model import TFLiteModel

Record = dict[str, Any]


def layer_table(model: KerasModel | TFLiteModel) -> list[Record]:
    """One record for each layer or operator, in order, and a last record with totals.

    Keys: name, type, output_shape (of the first output, without the batch axis; empty if there is no output), dtype (of
    the weights; of the output if there are none), parameters, nonzero, macs (for one image; None if the image size is
    open), bytes (of its numbers as stored).
    """
    if isinstance(model, KerasModel):
        rows = list(_keras_rows(model.keras, macs_by_layer(model.keras), ""))
        shape = _first_shape(model.keras.outputs)
    else:
        rows = _tflite_rows(model)
        shape = _first_shape(model.graph.outputs)
    return [*rows, _total(rows, model.format, shape)]


def _keras_rows(model: Any, macs: Mapping[str, int | None], prefix: str) -> Iterator[Record]:
    for layer in model.layers:
        if isinstance(layer, backend.keras().Model):
            yield from _keras_rows(layer, macs, f"{prefix}{layer.name}/")
            continue
        weights = [np.array(w) for w in layer.weights]
        yield {
            "name": prefix + layer.name,
            "type": type(layer).__name__,
            "output_shape": _first_shape(backend.keras().tree.flatten(layer.output)),
            "dtype": str(weights[0].dtype if weights else layer.compute_dtype),
            "parameters": sum(w.size for w in weights),
            "nonzero": sum(int(np.count_nonzero(w)) for w in weights),
            "macs": macs[prefix + layer.name],
            "bytes": sum(w.nbytes for w in weights),
        }


def _tflite_rows(model: TFLiteModel) -> list[Record]:
    graph = model.graph
    parameters: defaultdict[Operator, list[contents.StoredTensor]] = defaultdict(list)
    for stored in contents.stored_in(graph):
        parameters[stored.operator].append(stored)
    data_bytes: Counter[Operator] = Counter()
    buffers: set[int] = set()
    for operator, _, constant in contents.constants_in(graph):
        if constant.buffer not in buffers:
            data_bytes[operator] += constant.stored_bytes
            buffers.add(constant.buffer)
    rows = [
        _tflite_row(number, operator, parameters[operator], data_bytes[operator])
        for number, operator in enumerate(graph.operators, start=1)
        if not contents.is_unpacking(operator)
    ]
    structure = {"name": "structure and names", "type": "", "output_shape": [], "dtype": ""}
    rest = {
        "parameters": 0,
        "nonzero": 0,
        "macs": 0,
        "bytes": len(model.content) - sum(data_bytes.values()),
    }
    return [*rows, structure | rest]


def _tflite_row(
    number: int, operator: Operator, stored: Sequence[contents.StoredTensor], data_bytes: int
) -> Record:
    # An operator that only sets a variable, or calls a graph that does so, has no output.
    output = operator.outputs[0] if operator.outputs else None
    weights = stored[0].tensor if stored else output
    # The first of the names of fused operators, separated by ';'. A slim file has no names.
    name = output.name.partition(";")[0] if output else ""
    return {
        "name": name or f"{operator.name.lower()} {number}",
        "type": operator.name,
        "output_shape": _first_shape(operator.outputs),
        "dtype": weights.dtype if weights else "",
        "parameters": contents.stored_params(stored),
        "nonzero": contents.nonzero_params(stored),
        "macs": operator.macs,
        "bytes": data_bytes,
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


def _first_shape(tensors: Sequence[Any]) -> list[int | None]:
    """The shape of the first tensor, without the batch axis; empty if there is none."""
    return list(tensors[0].shape[1:]) if tensors else []
