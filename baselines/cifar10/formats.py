"""Recognize the format of a copy of CIFAR-10: batches, archive, class folders or `.npz`."""

from __future__ import annotations

from pathlib import Path

from baselines.cifar10.archive import OFFICIAL, open_archive
from baselines.cifar10.batches import open_batches
from baselines.cifar10.class_folders import open_class_folders
from baselines.cifar10.npz import open_npz
from baselines.cifar10.spec import Counts, Files
from compress.data.cifar_batches import found_in
from compress.input_file import regular

FORMS = (
    "a folder of binary or Python batches, a folder with train/<class>/*.png and test/<class>/*.png, "
    "the official .tar.gz or an .npz"
)


def open_copy(path: Path, counts: Counts) -> Files:
    """The copy of CIFAR-10 at `path`, or in the subfolder that has the folder name of an official archive.

    All checks that need no image data are made here. They raise FileNotFoundError or ValueError, with one sentence.
    """
    if regular(path).is_dir():
        return _open_folder(path, counts)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder; expected {FORMS}.")
    with path.open("rb") as file:
        mark = file.read(4)
    if mark.startswith(b"\x1f\x8b"):
        return open_archive(path, counts)
    if mark.startswith(b"PK") or path.suffix == ".npz":
        return open_npz(path, counts)
    raise ValueError(f"{path}: neither a .tar.gz nor an .npz; expected {FORMS}.")


def _open_folder(folder: Path, counts: Counts) -> Files:
    if batches := found_in(folder):
        return open_batches(*batches, counts)
    if (folder / "train").is_dir() or (folder / "test").is_dir():
        return open_class_folders(folder, counts)
    for name in sorted([*OFFICIAL.values(), "cifar10.npz"]):
        if (folder / name).is_file():
            return open_copy(folder / name, counts)
    raise FileNotFoundError(
        f"{folder}: no CIFAR-10 in this folder; expected {FORMS}. For images of your own add --task images."
    )
