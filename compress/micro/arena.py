"""The arena of a file: the RAM that TFLM's interpreter asks for, as its own recorder counts it."""

from __future__ import annotations

import re
from dataclasses import dataclass

# What the figures hold for. The tail holds structures with pointers, which are half as long on a 32-bit processor.
MEASURED_WITH = "x86-64, reference kernels"
_LINE = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")


@dataclass(frozen=True, kw_only=True)
class Arena:
    """Bytes of RAM: `head` for activations, which share it in turn; `tail` for what stays while a model is loaded."""

    total: int
    head: int
    tail: int


def parsed(recorded: str) -> Arena:
    """The arena in what TFLM's recorder prints. ValueError if it is not there."""
    found = {name: int(count) for name, count in _LINE.findall(recorded)}
    if set(found) != {"total", "head", "tail"}:
        raise ValueError("TFLM printed no arena: this release of tflite-micro is not known here.")
    return Arena(**found)
