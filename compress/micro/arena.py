"""The arena of a file: the RAM that TFLM's interpreter asks for, as TFLM's recorder counts it."""

from __future__ import annotations

import re
from dataclasses import dataclass

# The figures hold for this platform. The tail has pointers, which are half as long on a 32-bit processor.
MEASURED_WITH = "x86-64, reference kernels"
_LINE = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")


@dataclass(frozen=True, kw_only=True)
class Arena:
    """Bytes of RAM: `head` for activations, which reuse it in turn; `tail` for data that stay with the model."""

    total: int
    head: int
    tail: int


def parsed(recorded: str) -> Arena:
    """The arena in the output of TFLM's recorder. ValueError if there is none."""
    found = {name: int(count) for name, count in _LINE.findall(recorded)}
    if set(found) != {"total", "head", "tail"}:
        raise ValueError("TFLM printed no arena: this release of tflite-micro is not supported.")
    return Arena(**found)
