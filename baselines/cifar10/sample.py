"""The bundled sample of CIFAR-10: two PNG contact sheets with one band per class, in class order."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np

from baselines.cifar10.spec import CLASSES, PIXELS, SIDE, Arrays, Counts, Files, checked
from compress.data.dataset import Split
from compress.data.image_file import read_images
from compress.data.splits import content_order, split_by_class
from compress.files import replacing

FOLDER = Path(str(files("baselines"))) / "sample"
COUNTS = Counts(train=4_000, test=1_000)
COLUMNS = 100  # images per row of a sheet


def sheet(images: np.ndarray) -> np.ndarray:
    """Lay out images in rows of 100, left to right: uint8 [n, 32, 32, 3] -> [n / 100 * 32, 3200, 3]."""
    rows = images.reshape(-1, COLUMNS, SIDE, SIDE, 3)
    return rows.transpose(0, 2, 1, 3, 4).reshape(-1, COLUMNS * SIDE, 3)


def unsheet(pixels: np.ndarray) -> np.ndarray:
    """Split a sheet into its images: the inverse of `sheet`."""
    rows = pixels.reshape(-1, SIDE, COLUMNS, SIDE, 3)
    return rows.transpose(0, 2, 1, 3, 4).reshape(-1, SIDE, SIDE, 3)


def draw_train(train: Arrays, validation_fraction: float, count: int) -> np.ndarray:
    """Training images for a sample, in class order: uint8 [count, 32, 32, 3].

    In each class, the share `validation_fraction` comes from the validation split of the full data, and the rest from
    its train split. `split_by_class` therefore puts every image of the sample into the same split as in the full data.
    """
    train_split, validation_split = split_by_class(*train, validation_fraction)
    of_class = count // len(CLASSES)
    held_out = round(validation_fraction * of_class)
    return np.concatenate(
        [
            part
            for label in range(len(CLASSES))
            for part in (
                _first(validation_split, label, held_out),
                _first(train_split, label, of_class - held_out),
            )
        ]
    )


def draw_test(test: Arrays, count: int) -> np.ndarray:
    """Test images for a sample, in class order: uint8 [count, 32, 32, 3]."""
    order = content_order(*test, seed=0)
    split = Split(test[0][order], test[1][order])
    return np.concatenate([_first(split, label, count // 10) for label in range(len(CLASSES))])


def _first(split: Split, label: int, count: int) -> np.ndarray:
    """The first images of a class in the order of the split, which is by content."""
    return split.images[split.labels == label][:count]


def write_sample(folder: Path, files: Files, validation_fraction: float) -> None:
    """Draw the sample from the full data in `files` and write both sheets to `folder`."""
    train = draw_train(files.train(), validation_fraction, COUNTS.train)
    write_png(folder / "train.png", sheet(train))
    write_png(folder / "test.png", sheet(draw_test(files.test(), COUNTS.test)))


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 [h, w, 3] as a PNG file, as small as Pillow can make it, and as a whole or not at all."""
    from PIL import Image

    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", optimize=True)


def open_sample(folder: Path = FOLDER) -> Files:
    """The sample in `folder`. The band of an image gives its label."""

    def read(part: str, count: int) -> Arrays:
        path = folder / f"{part}.png"
        height = count * PIXELS // (COLUMNS * SIDE * 3)
        images = unsheet(read_images([path], (COLUMNS * SIDE, height), ["PNG"])[0])
        labels = np.repeat(np.arange(len(CLASSES)), count // len(CLASSES))
        return checked(images, labels, count, str(path))

    return Files(train=lambda: read("train", COUNTS.train), test=lambda: read("test", COUNTS.test))
