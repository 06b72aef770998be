"""Read and write PNG files whose size is known beforehand."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np

from compress.data.image_folder import png_bits
from compress.input_file import regular

# Modes that become RGB without losing a value: PNG optimisers store grey images as L, few-coloured ones as P.
LOSSLESS_MODES = ("RGB", "L", "P")


def read_png(path: Path, height: int, width: int) -> np.ndarray:
    """The pixels of a PNG, uint8 [height, width, 3]. ValueError if it is anything else.

    Size and mode are read from its header, before any room is made for pixels.
    """
    from PIL import Image

    with regular(path).open("rb") as file:
        _check_bits(path, png_bits(file))
        try:
            with Image.open(file, formats=["PNG"]) as image:
                size, mode = image.size, image.mode
                if size == (width, height) and mode in LOSSLESS_MODES:
                    return np.asarray(image.convert("RGB"))
        except (
            # Pillow reports what is no PNG, or a damaged one, by any of these.
            OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError,
            Image.DecompressionBombWarning,
        ) as error:  # fmt: skip
            raise ValueError(f"{path}: not a whole PNG file; get it again.") from error
    if size != (width, height):
        raise ValueError(_size_sentence(path, size, height, width))
    raise ValueError(f"{path}: a PNG of mode {mode}; expected RGB, 8 bits a channel.")


def check_png(path: Path, height: int, width: int) -> None:
    """ValueError if a file does not begin and end as a PNG of this size does. Its pixels are not looked at."""
    with regular(path).open("rb") as file:
        bits = png_bits(file)
        head = file.read(24)
        file.seek(-min(12, path.stat().st_size), os.SEEK_END)
        whole = head.startswith(b"\x89PNG\r\n\x1a\n") and file.read()[4:8] == b"IEND"
    if not whole:
        raise ValueError(f"{path}: not a whole PNG file; get it again.")
    _check_bits(path, bits)
    size = struct.unpack(">II", head[16:24])
    if size != (width, height):
        raise ValueError(_size_sentence(path, size, height, width))


def _check_bits(path: Path, bits: int) -> None:
    if bits > 8:
        raise ValueError(f"{path}: a PNG of {bits} bits a channel; expected 8.")


def _size_sentence(path: Path, size: tuple[int, ...], height: int, width: int) -> str:
    return f"{path}: {size[0]} x {size[1]} pixels (width x height); expected {width} x {height}."


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 [h, w, 3] whole, as small as Pillow can."""
    from PIL import Image

    from compress.files import replacing

    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", optimize=True)
