"""Arrays and images that declare a false size, unpack to far more bytes than they have, or are something else."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

HUGE = 2**40


def arrays(**other: np.ndarray) -> bytes:
    """A valid `.npz` of images, with other arrays added or in place of the valid ones."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (20, 6, 5, 3), np.uint8)
    held = io.BytesIO()
    np.savez(held, **({"x_train": images, "y_train": np.arange(20) % 2} | other))
    return held.getvalue()


def npz(packing: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    """An `.npz` made of the bytes of its members."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", packing) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return held.getvalue()


def npy(header: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode("latin-1") + data


def describing(shape: Any, kind: str = "|u1") -> str:
    return repr({"descr": kind, "fortran_order": False, "shape": shape})


LABELS = npy(describing((20,)), bytes(range(2)) * 10)
ARRAYS: dict[str, Callable[[], bytes]] = {
    "a huge shape": lambda: npz(x_train=npy(describing((HUGE, 6, 5, 3))), y_train=npy(describing((HUGE,)))),
    "a shape of no bytes": lambda: npz(x_train=npy(describing((20, 6000, 5000, 3))), y_train=LABELS),
    "a long shape": lambda: npz(x_train=npy(describing((1,) * 3000)), y_train=LABELS),
    "negative numbers": lambda: npz(x_train=npy(describing((-20, -6, 5, 3))), y_train=LABELS),
    "a huge type": lambda: npz(x_train=npy(describing((20,), f"|V{HUGE}")), y_train=LABELS),
    "objects": lambda: arrays(x_train=np.array([{}] * 20, dtype=object)),
    "a header of brackets": lambda: npz(x_train=npy("(" * 9000), y_train=LABELS),
    "a header of signs": lambda: npz(x_train=npy("-" * 9000 + "1"), y_train=LABELS),
    "a header that calls": lambda: npz(
        x_train=npy("{'descr': __import__('os').system('touch canary')}"), y_train=LABELS
    ),
    "a header of zeros": lambda: npz(x_train=npy("\0" * 60_000), y_train=LABELS),
    "zeros": lambda: npz(
        zipfile.ZIP_DEFLATED,
        x_train=npy(describing((20, 1000, 5000, 3)), bytes(300_000_000)),
        y_train=LABELS,
    ),
    "zeros for labels": lambda: npz(
        zipfile.ZIP_DEFLATED,
        x_train=npy(describing((37_500_000, 1, 1, 1)), bytes(37_500_000)),
        y_train=npy(describing((37_500_000,), "<i8"), bytes(300_000_000)),
    ),
    "very many arrays": lambda: npz(**{f"x{number}": LABELS for number in range(3000)}),
    "names that draw": lambda: npz(**{"\x1b[2J\x07": LABELS}),
    "names that point outside": lambda: npz(**{"../x_train": LABELS, "/y_train": LABELS}),
    "no arrays": lambda: npz(),
    "nothing": lambda: b"",
}  # fmt: skip


def picture(suffix: str = "png", **words: Any) -> bytes:
    """A valid image."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, suffix, **words)
    return held.getvalue()


def png(width: int, height: int, rows: bytes, kind: int = 2, more: bytes = b"") -> bytes:
    """A PNG of 8 bits a channel with the given content and correct check sums."""
    head = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + more + chunk(b"IDAT", rows) + chunk(b"IEND")
    )


def chunk(name: bytes, content: bytes = b"") -> bytes:
    sum_ = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", sum_)


def blank(width: int, height: int) -> bytes:
    packer = zlib.compressobj(9)
    row = bytes(1 + 3 * width)
    return b"".join(packer.compress(row) for _ in range(height)) + packer.flush()


IMAGES: dict[str, Callable[[], bytes]] = {
    "a wide blank.png": lambda: png(9_000, 9_000, blank(9_000, 9_000)),
    "a huge size.png": lambda: png(2**31 - 1, 2**31 - 1, zlib.compress(b"\0")),
    "a size without pixels.png": lambda: png(13_000, 13_000, b""),
    "no size.png": lambda: png(0, 0, b""),
    "a long text.png": lambda: png(
        5, 6, blank(5, 6), more=chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(100_000_000)))
    ),
    "a long profile.png": lambda: png(
        5, 6, blank(5, 6), more=chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(100_000_000)))
    ),
    "very many parts.png": lambda: png(5, 6, blank(5, 6), more=chunk(b"tEXt", b"x\0y") * 60_000),
    "a palette without colours.png": lambda: png(5, 6, zlib.compress(bytes(36)), kind=3),
    "a huge size.jpg": lambda: wide(picture("jpeg"), 65_500, 65_500),
    "a wide blank.jpg": lambda: wide(picture("jpeg"), 13_000, 13_000),
    "a program.png": lambda: b"\x89PNG\r\n\x1a\n" + b"\x7fELF" * 100,
    "a drawing.png": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(touch canary) system\n",
    "nothing.png": lambda: b"",
}  # fmt: skip


def wide(content: bytes, width: int, height: int) -> bytes:
    """A JPEG that declares another size."""
    begin = content.index(b"\xff\xc0") + 5
    return content[:begin] + struct.pack(">HH", height, width) + content[begin + 4 :]
