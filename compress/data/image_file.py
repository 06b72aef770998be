"""Read PNG and JPEG files as arrays of pixels. Files are untrusted: sizes are checked before pixels are decoded."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from compress.input_file import regular

if TYPE_CHECKING:
    from PIL.Image import Image


FORMATS = ("PNG", "JPEG")


# Pillow modes that convert to gray or RGB without loss. File optimizers store gray images as 1 or L, palettes as P.
GREY, COLOUR = ("1", "L"), ("P", "RGB")


MAX_BYTES = 4_000_000_000  # of all pixels, decoded


# Maximum decoded bytes per byte of file. ALWAYS_BYTES are always allowed, because images of one color compress well.
MAX_RATIO, ALWAYS_BYTES = 100, 2**26


def read_images(
    paths: Sequence[Path],
    size: tuple[int, int] | None = None,
    formats: Sequence[str] = FORMATS,
    resize: tuple[int, int] | None = None,
) -> np.ndarray:
    """The images in these files, uint8 [n, h, w, 1 or 3], all of one size. Sizes are checked before pixels are read.

    Args:
      size: width and height; None for those of the first image.
      formats: the allowed file formats, by their Pillow names.
      resize: height and width to which all images are resized, bilinear with antialiasing; None: no image is resized.
    """
    width, height = resize[::-1] if resize else size or _size(paths[0], formats)
    if len(paths) * width * height * 3 > MAX_BYTES:
        raise ValueError(
            f"{paths[0]} and {len(paths) - 1:,} more images of {width} x {height} pixels: more than "
            f"{MAX_BYTES:,} bytes of pixels; give fewer or smaller ones."
        )
    wanted = f"; expected {width} x {height}."
    if size is None:
        wanted = f", but {paths[0]} has {width} x {height}: bring all images to one size first, or add --resize."
    pixels = np.empty((len(paths), height, width, 3), np.uint8)
    grey = True
    for number, path in enumerate(paths):
        with regular(path).open("rb") as file:
            image = _opened(file, path, None if resize else (width, height), wanted, formats)
            with _refusals_named(path, formats):
                pixels[number] = np.asarray(_of_size(image.convert("RGB"), (width, height)))
            grey = grey and image.mode in GREY
    return np.ascontiguousarray(pixels[..., :1]) if grey else pixels


def _of_size(image: Image, size: tuple[int, int]) -> Image:
    from PIL.Image import Resampling

    return image if image.size == size else image.resize(size, Resampling.BILINEAR)


def check_png(path: Path, size: tuple[int, int]) -> None:
    """Raise ValueError unless a file begins and ends as a PNG of this width and height. Pixels are not decoded."""
    with regular(path).open("rb") as file:
        _opened(file, path, size, f"; expected {size[0]} x {size[1]}.", ["PNG"])
        file.seek(-12, os.SEEK_END)
        if file.read()[4:8] != b"IEND":
            raise _not_whole(path, ["PNG"])


def _opened(
    file: IO[bytes], path: Path, size: tuple[int, int] | None, wanted: str, formats: Sequence[str]
) -> Image:
    """Open an image and check its header. Its pixels are not decoded yet.

    Args:
      size: width and height that it must have; None: any.
      wanted: the end of the message for an image of another size.
    """
    from PIL import Image

    if (bits := _png_bits(file)) > 8:
        raise ValueError(f"{path}: an image of {bits} bits a channel; expected 8: save it with 8.")
    with _refusals_named(path, formats):
        image = Image.open(file, formats=tuple(formats))
    size = size or image.size
    if image.size != size:
        raise ValueError(f"{path}: {image.width} x {image.height} pixels (width x height){wanted}")
    size_bytes = path.stat().st_size
    if size[0] * size[1] * 3 > max(MAX_RATIO * size_bytes, ALWAYS_BYTES):
        raise ValueError(
            f"{path}: {size[0]} x {size[1]} pixels in {size_bytes:,} bytes, too few for an image: take it out."
        )
    see_through = image.mode == "P" and "transparency" in image.info
    if see_through or image.mode not in (*GREY, *COLOUR):
        raise ValueError(
            f"{path}: an image of mode {image.mode}, or with transparency; expected grey or RGB, 8 bits a channel: "
            "save it without."
        )
    return image


def _png_bits(file: IO[bytes]) -> int:
    """Bits per channel in the header of an open PNG; 0 for any other file. Pillow silently reduces 16 bits to 8."""
    head = file.read(25)
    file.seek(0)
    return head[24] if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) == 25 else 0


def _size(path: Path, formats: Sequence[str]) -> tuple[int, int]:
    from PIL import Image

    with regular(path).open("rb") as file:
        with _refusals_named(path, formats):
            image = Image.open(file, formats=tuple(formats))
        return image.size


@contextmanager
def _refusals_named(path: Path, formats: Sequence[str]) -> Iterator[None]:
    """Convert the exceptions by which Pillow refuses a file, damaged, huge or not an image, into one ValueError."""
    from PIL import Image

    bomb = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        yield
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, *bomb) as error:
        raise _not_whole(path, formats) from error


def _not_whole(path: Path, formats: Sequence[str]) -> ValueError:
    return ValueError(f"{path}: not a whole {' or '.join(formats)} image; get it again.")
