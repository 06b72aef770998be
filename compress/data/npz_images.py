"""Labelled images from an `.npz` file: x_train and y_train, and optionally those of validation and test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from compress.data import npz
from compress.data.dataset import Split
from compress.data.image_file import MAX_BYTES
from compress.data.image_folder import PARTS
from compress.text import printable

MAX_CLASSES = 10_000


def read_arrays(path: Path) -> tuple[tuple[str, ...], dict[str, Split]]:
    """The class names, "0", "1" and so on, and the splits in the file.

    Images are uint8 [n, h, w] or [n, h, w, 1 or 3], labels whole numbers from 0, [n] or [n, 1].

    Raises:
      ValueError: an array is missing, unknown, or of another shape or type. Headers are checked before any array
        is read.
    """
    headers = npz.headers(path)
    parts = _parts(path, headers)
    for part in parts:
        _check(path, part, headers)
    size = sum(math.prod(headers[f"x_{part}"][0]) for part in parts)
    if size > MAX_BYTES:
        raise ValueError(f"{path}: {size:,} bytes of pixels; expected at most {MAX_BYTES:,}.")
    labels = {part: npz.array(path, f"y_{part}").reshape(-1) for part in parts}
    low = min(int(of_part.min()) for of_part in labels.values())
    high = max(int(of_part.max()) for of_part in labels.values())
    if low < 0 or not 1 <= high < MAX_CLASSES:
        raise ValueError(
            f"{path}: its labels go from {low} to {high}; expected 0 to the number of classes less one, "
            "of two classes or more."
        )
    splits = {}
    for part in parts:
        images = npz.array(path, f"x_{part}")
        shaped = images if images.ndim == 4 else images[..., None]
        splits[part] = Split(shaped, labels[part].astype(np.int64))
    return tuple(map(str, range(high + 1))), splits


def _parts(path: Path, headers: Mapping[str, npz.Header]) -> list[str]:
    """The splits in the file. ValueError unless each has both its arrays and there are no others."""
    parts = [part for part in PARTS if {f"x_{part}", f"y_{part}"} & set(headers)]
    if "train" not in parts or {f"{k}_{p}" for k in "xy" for p in parts} != set(headers):
        names = printable(", ".join(headers))[:200] or "none"
        raise ValueError(
            f"{path}: has the arrays {names}; expected x_train and y_train and, if you like, x_validation, "
            "y_validation, x_test, y_test."
        )
    return parts


def _check(path: Path, part: str, headers: Mapping[str, npz.Header]) -> None:
    shape, kind = headers[f"x_{part}"]
    has_channels = len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))
    if kind != np.uint8 or not has_channels or min(shape) < 1:
        raise ValueError(
            f"{path}: x_{part} is {kind} of shape {list(shape[:8])}; "
            "expected uint8 pixels [n, h, w] or [n, h, w, 1 or 3]."
        )
    if shape[1:] != headers["x_train"][0][1:]:
        raise ValueError(
            f"{path}: x_{part} has images of shape {list(shape[1:])}; expected those of x_train, "
            f"{list(headers['x_train'][0][1:])}."
        )
    labels, kind = headers[f"y_{part}"]
    if kind.kind not in "iu" or labels not in ((shape[0],), (shape[0], 1)):
        raise ValueError(
            f"{path}: y_{part} is {kind} of shape {list(labels)}; "
            f"expected {shape[0]:,} whole numbers."
        )
