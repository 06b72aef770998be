"""CIFAR-10 as class folders: `train/airplane/*.png` to `test/truck/*.png`, one image per file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from baselines.cifar10.spec import CLASSES, SIDE, Arrays, Counts, Files, checked
from compress.data.image_file import check_png, read_images


def open_class_folders(folder: Path, counts: Counts) -> Files:
    """The images below `folder`, after a check that every class has the right number of files."""
    listed = {
        part: [_pngs(folder / part / name, count // len(CLASSES)) for name in CLASSES]
        for part, count in (("train", counts.train), ("test", counts.test))
    }

    # Test images are read only after the work, so their files are checked now.
    for path in (path for paths in listed["test"] for path in paths):
        check_png(path, (SIDE, SIDE))

    def read(part: str, count: int) -> Arrays:
        images = read_images([p for paths in listed[part] for p in paths], (SIDE, SIDE), ["PNG"])
        labels = np.repeat(np.arange(len(CLASSES)), count // len(CLASSES))
        return checked(images, labels, count, str(folder / part))

    return Files(train=lambda: read("train", counts.train), test=lambda: read("test", counts.test))


def _pngs(folder: Path, count: int) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is missing; expected a folder of {count:,} PNG files.")
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() == ".png")
    if len(paths) != count:
        raise ValueError(f"{folder}: {len(paths):,} PNG files; expected {count:,}.")
    return paths
