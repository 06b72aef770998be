"""CIFAR-10 as one `.npz`: x_train, y_train, x_test, y_test, as Keras returns them."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from baselines.cifar10_checks import SIDE, Arrays, Counts, Files, checked

NAMES = ("x_train", "y_train", "x_test", "y_test")


def open_npz(path: Path, counts: Counts) -> Files:
    """The arrays in `path`, all there with the right shape and type. No array is unpickled."""
    for name in NAMES:
        _read(path, name, counts, header_only=True)

    def read(part: str, count: int) -> Arrays:
        images = _read(path, f"x_{part}", counts, header_only=False)
        labels = _read(path, f"y_{part}", counts, header_only=False)
        return checked(images, labels.reshape(-1), count, str(path))

    return Files(train=lambda: read("train", counts.train), test=lambda: read("test", counts.test))


def _read(path: Path, name: str, counts: Counts, header_only: bool) -> np.ndarray:
    """The array `name`; its type and shape are checked before any room is made for it."""
    count = counts.train if name.endswith("train") else counts.test
    try:
        with zipfile.ZipFile(path) as archive:
            with archive.open(f"{name}.npy") as file:
                shape, dtype = _header(file)
            right = dtype == np.uint8 if name.startswith("x") else dtype.kind in "iu"
            shapes = [(count, SIDE, SIDE, 3)] if name.startswith("x") else [(count,), (count, 1)]
            if right and shape in shapes:
                if header_only:
                    return np.empty(0, np.uint8)
                with archive.open(f"{name}.npy") as file:
                    return np.lib.format.read_array(file, allow_pickle=False)
    except KeyError as error:
        raise ValueError(f"{path}: has no array {name}; expected {', '.join(NAMES)}.") from error
    except (
        zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError,
    ) as error:  # fmt: skip
        raise ValueError(f"{path}: not a whole .npz file ({error}).") from error
    raise ValueError(
        f"{path}: {name} is {dtype} of shape {list(shape)}; expected "
        f"{'uint8' if name.startswith('x') else 'whole numbers'} of shape {list(shapes[0])}."
    )


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of the array in a `.npy` file, which is not read any further."""
    if np.lib.format.read_magic(file) == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    return shape, dtype
