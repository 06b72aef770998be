"""C99 and C++11 source text for numbers and texts."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

C_TYPES = {"int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "float32": "float"}
_WIDTH = 100  # columns


def identifier(name: str) -> str:
    """The name as a C identifier in lower case.

    >>> identifier("My net-2"), identifier("8bit")
    ('my_net_2', 'model_8bit')
    """
    word = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "model"
    return word if not word[0].isdigit() else f"model_{word}"


def text(value: str) -> str:
    """The text as a C string literal, with all but plain characters as octal bytes.

    >>> text('a "b"')
    '"a \\\\042b\\\\042"'
    """
    plain = [
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
        for byte in value.encode()
    ]
    return f'"{"".join(plain)}"'


def number(value: float | int) -> str:
    """The number as a C literal. The literal of a float reads back as the same float32.

    >>> number(np.float32(0.1)), number(np.int8(-128))
    ('0.1f', '-128')
    """
    if isinstance(value, (float, np.floating)):
        shown = np.format_float_positional(np.float32(value), unique=True, trim="0")
        return f"{shown}f"
    return str(int(value))


def rows(values: Sequence[str], indent: int = 2) -> str:
    """Values separated by commas, in lines of at most `_WIDTH` columns."""
    lines, line = [], ""
    for value in values:
        if line and len(line) + len(value) + 2 + indent > _WIDTH:
            lines.append(line)
            line = ""
        line += f"{value}, "
    return "\n".join(" " * indent + each.rstrip() for each in [*lines, line])


def array(values: np.ndarray, indent: int = 2) -> str:
    """The numbers of an array, in one dimension, to stand between the braces of an initializer."""
    return rows([number(value) for value in values.reshape(-1)], indent)


def data(content: bytes) -> str:
    """The bytes, to stand between the braces of an initializer."""
    return rows([f"0x{byte:02x}" for byte in content])
