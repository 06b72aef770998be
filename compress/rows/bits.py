"""Which images a model got right, as text: a bit for each, eight to a byte, in base64."""

from __future__ import annotations

import base64

import numpy as np


def pack_bits(correct: np.ndarray) -> str:
    """Base64 of a bool [n] array, 8 images a byte.

    >>> unpack_bits(pack_bits(np.array([True, False, True])), 3).tolist()
    [True, False, True]
    """
    return base64.b64encode(np.packbits(correct).tobytes()).decode()


def unpack_bits(text: str, n: int) -> np.ndarray:
    """The bool [n] array that `pack_bits` wrote. ValueError if it cannot have written that text."""
    try:
        packed = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    except ValueError:
        packed = np.empty(0, np.uint8)
    if len(packed) == -(-n // 8):  # else unpackbits takes what happens to be in memory
        correct = np.unpackbits(packed, count=n).astype(bool)
        if pack_bits(correct) == text:
            return correct
    raise ValueError(f"the bits are {text!r:.40}; expected {expected(n)}")


def expected(n: int) -> str:
    """What `unpack_bits` takes, in words."""
    return (
        f"{-(-n // 8):,} bytes in base64, a bit for each of {n:,} images and zeros after the last"
    )
