"""Small noise images in files and folders, and the splits made from them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from compress.data.dataset import Dataset, Split


def images(n: int, seed: int = 0, shape: tuple[int, ...] = (6, 5, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.squeeze()).save(path)
    return path


def save_16_bits(path: Path, height: int, width: int, colour: bool = True) -> Path:
    """Write a PNG with 16 bits a channel, which Pillow can read but not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + check

    head = struct.pack(">IIBBBBB", width, height, 16, 2 if colour else 0, 0, 0, 0)
    rows = (b"\0" + bytes(range(2 * width * (3 if colour else 1)))) * height
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def class_folders(root: Path, names: tuple[str, ...] = ("ant", "bee"), n: int = 10) -> Path:
    for name in names:
        for number, pixels in enumerate(images(n, seed=zlib.crc32(f"{root.name}/{name}".encode()))):
            save(root / name / f"{number}.png", pixels)
    return root


def quiet(sentence: str) -> None:
    pass


def of_sides(data: Dataset) -> list[Split]:
    return [data.train, data.validation, data.open_test()]


def digests(data: Dataset) -> list[str]:
    return [split.digest for split in of_sides(data)]


def pixels_of(split: Split) -> set[bytes]:
    return {image.tobytes() for image in split.images}
