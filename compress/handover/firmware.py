"""The C files of an exported folder: model, settings, operators, golden examples and a program that checks them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from compress.handover import c_source, operators
from compress.handover.golden import Golden, quantization
from compress.tflite.model import TFLiteModel
from compress.tflite.tensor import Tensor

_FILES = {
    "{name}_data.h": "data.h.j2",
    "{name}_data.c": "data.c.j2",
    "{name}_operators.h": "operators.h.j2",
    "{name}_golden.h": "golden.h.j2",
    "{name}_golden.c": "golden.c.j2",
    "check_{name}.c": "check.c.j2",
}


@dataclass(frozen=True)
class Firmware:
    """The data from which the C files are made."""

    name: str  # an identifier; all names in C begin with it
    model: TFLiteModel
    labels: Sequence[str]
    arena_bytes: int
    golden: Golden

    def files(self) -> dict[str, str]:
        """File name -> content."""
        environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
        folder = files("compress.handover") / "templates"
        return {
            pattern.format(name=self.name): environment.from_string(
                (folder / template).read_text()
            ).render(self._values)
            for pattern, template in _FILES.items()
        }

    @cached_property
    def _values(self) -> dict[str, Any]:
        (given,), (gives,) = self.model.graph.inputs, self.model.graph.outputs
        return {
            "name": self.name,
            "NAME": self.name.upper(),
            "data": c_source.data(self.model.content),
            "size": len(self.model.content),
            "digest": self.model.digest,
            "arena": self.arena_bytes,
            "labels": c_source.rows([c_source.text(label) for label in self.labels]),
            "classes": len(self.labels),
            "input": _tensor(given),
            "output": _tensor(gives),
            "methods": operators.methods(self.model.graph),
            "examples": len(self.golden.inputs),
            "inputs": [c_source.array(each, 4) for each in self.golden.inputs],
            "outputs": [c_source.array(each, 4) for each in self.golden.outputs],
            "tolerance": "1e-5f" if gives.dtype == "float32" else "0",
        }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    shape = tensor.shape[1:]
    numbers = 1
    for length in shape:
        numbers *= length
    scale, zero_point = quantization(tensor)
    return {
        "type": c_source.C_TYPES[tensor.dtype],
        "shape": list(shape),
        "numbers": numbers,
        "scale": c_source.number(scale),
        "zero_point": zero_point,
    }
