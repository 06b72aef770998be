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
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            _check_header(file, name, count, path)
        if header_only:
            return np.empty(0, np.uint8)
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except KeyError as error:
        raise ValueError(f"{path}: has no array {name}; expected {', '.join(NAMES)}.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path}: not a whole .npz file ({error}).") from error


def _check_header(file: IO[bytes], name: str, count: int, path: Path) -> None:
    version = np.lib.format.read_magic(file)
    read_header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read_header(file)
    if name.startswith("x"):
        shapes: list[tuple[int, ...]] = [(count, SIDE, SIDE, 3)]
        right_type, wanted = dtype == np.uint8, "uint8"
    else:
        shapes = [(count,), (count, 1)]
        right_type, wanted = dtype.kind in "iu", "whole numbers"
    if shape not in shapes or not right_type:
        raise ValueError(
            f"{path}: {name} is {dtype} of shape {list(shape)}; "
            f"expected {wanted} of shape {list(shapes[0])}."
        )
