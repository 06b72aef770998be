"""Read labeled images or features from an `.npz` file: x_train and y_train, optionally also validation and test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from compress.data import npz
from compress.data.dataset import Split, check_examples
from compress.data.image_file import MAX_BYTES
from compress.data.image_folder import PARTS
from compress.text import printable

MAX_CLASSES = 10_000


def read_arrays(path: Path) -> tuple[tuple[str, ...], dict[str, Split]]:
    """The class names, "0", "1" and so on, and the splits in the file.

    Images are uint8 [n, h, w] or [n, h, w, 1 or 3]. Features are float32 [n, h, w, c], [n, t, c] or [n, values]. Labels
    are whole numbers from 0, [n] or [n, 1].

    Raises:
      ValueError: an array is missing, unknown, or of another shape or type, or a feature is not finite. Headers are
        checked before any array is read.
    """
    headers = npz.headers(path)
    parts = _parts(path, headers)
    for part in parts:
        _check(path, part, headers)
    kind = headers["x_train"][1]
    size = sum(math.prod(headers[f"x_{part}"][0]) for part in parts) * kind.itemsize
    if size > MAX_BYTES:
        what = "pixels" if kind == np.uint8 else "features"
        raise ValueError(f"{path}: {size:,} bytes of {what}; expected at most {MAX_BYTES:,}.")
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
        shaped = images[..., None] if kind == np.uint8 and images.ndim == 3 else images
        check_examples(shaped, f"{path}: x_{part}")
        splits[part] = Split(shaped, labels[part].astype(np.int64))
    return tuple(map(str, range(high + 1))), splits


def _parts(path: Path, headers: Mapping[str, npz.Header]) -> list[str]:
    """The splits in the file. ValueError unless each split has both arrays and there are no other arrays."""
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
    is_image = kind == np.uint8 and (len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3)))
    is_feature = kind == np.float32 and 2 <= len(shape) <= 4
    if not (is_image or is_feature) or min(shape) < 1:
        cast = ": cast features to float32" if kind.kind == "f" and kind != np.float32 else ""
        raise ValueError(
            f"{path}: x_{part} is {kind} of shape {list(shape[:8])}; expected uint8 pixels [n, h, w] or "
            f"[n, h, w, 1 or 3], or float32 features [n, h, w, c], [n, t, c] or [n, values]{cast}."
        )
    first, first_kind = headers["x_train"]
    if (shape[1:], kind) != (first[1:], first_kind):
        raise ValueError(
            f"{path}: x_{part} has {kind} examples of shape {list(shape[1:])}; expected those of x_train, "
            f"{first_kind} of shape {list(first[1:])}."
        )
    labels, kind = headers[f"y_{part}"]
    if kind.kind not in "iu" or labels not in ((shape[0],), (shape[0], 1)):
        raise ValueError(
            f"{path}: y_{part} is {kind} of shape {list(labels)}; "
            f"expected {shape[0]:,} whole numbers."
        )
