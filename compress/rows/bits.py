"""The images that a model got right, as text: one bit for each image, eight bits to a byte, in base64."""

from __future__ import annotations

import base64

import numpy as np


def pack_bits(correct: np.ndarray) -> str:
    """The base64 text of a bool [n] array, 8 images to a byte.

    >>> unpack_bits(pack_bits(np.array([True, False, True])), 3).tolist()
    [True, False, True]
    """
    return base64.b64encode(np.packbits(correct).tobytes()).decode()


def unpack_bits(text: str, n: int) -> np.ndarray:
    """The bool [n] array that `pack_bits` wrote. ValueError if it cannot have written the text."""
    try:
        packed = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    except ValueError:
        packed = np.empty(0, np.uint8)
    if len(packed) == -(-n // 8):  # otherwise unpackbits fills in the missing bits
        correct = np.unpackbits(packed, count=n).astype(bool)
        if pack_bits(correct) == text:
            return correct
    raise ValueError(f"the bits are {text!r:.40}; expected {expected(n)}")


def expected(n: int) -> str:
    """A description of the text that `unpack_bits` accepts."""
    return (
        f"{-(-n // 8):,} bytes in base64, a bit for each of {n:,} images and zeros after the last"
    )
