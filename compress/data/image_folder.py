"""Read images from class folders, in one folder or in train, validation and test. Files are untrusted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compress.data.dataset import Split
from compress.data.image_file import read_images

PARTS = ("train", "validation", "test")
SUFFIXES = (".png", ".jpg", ".jpeg")
# Files that file managers leave behind. Names that begin with a dot are ignored too.
LEFT_BEHIND = ("thumbs.db", "desktop.ini")


def read_folder(
    root: Path, resize: tuple[int, int] | None = None
) -> tuple[tuple[str, ...], dict[str, Split]]:
    """The class names, sorted, and the splits found: only "train" if the class folders lie directly in `root`.

    Labels follow the sorted names, as in Keras's image_dataset_from_directory. Images are uint8 [n, h, w, 1] if all
    are gray, otherwise [n, h, w, 3].

    Args:
      resize: height and width to which images are resized; None: all images must have one size.

    Raises:
      ValueError: a file is not a whole PNG or JPEG image, differs in size, or lies outside `root`; or a class is
        missing or empty.
    """
    parts = _parts(root)
    classes = _folder_names(parts["train"], root)
    if len(classes) < 2:
        raise ValueError(
            f"{parts['train']}: {len(classes)} class folders; expected two or more, each with the images of a class."
        )
    files: dict[str, list[list[Path]]] = {}
    for part, folder in parts.items():
        if (names := _folder_names(folder, root)) != classes:
            odd = sorted(set(names) ^ set(classes))[0]
            problem = "is not a class of train" if odd in names else "is missing"
            raise ValueError(f"{folder / odd} {problem}; expected the same class folders in each.")
        files[part] = [_image_files(folder / name, root) for name in classes]
    listed = [path for part in files.values() for paths in part for path in paths]
    pixels = read_images(listed, resize=resize)
    splits, begin = {}, 0
    for part, of_class in files.items():
        labels = np.repeat(np.arange(len(classes)), [len(paths) for paths in of_class])
        splits[part] = Split(pixels[begin : begin + len(labels)], labels)
        begin += len(labels)
    return classes, splits


def _parts(root: Path) -> dict[str, Path]:
    """Split -> the folder that holds its class folders."""
    names = _folder_names(root, root)
    if not set(PARTS) & set(names):
        return {"train": root}
    odd = sorted(set(names) - set(PARTS))
    if odd or "train" not in names:
        raise ValueError(
            f"{root}: has the folders {', '.join(names)}; expected train and, if you like, validation and test, "
            "or else nothing but class folders."
        )
    return {part: root / part for part in PARTS if part in names}


def _folder_names(folder: Path, root: Path) -> tuple[str, ...]:
    """The names of the folders in `folder`, sorted. ValueError if an image lies beside them."""
    entries = [_checked_link(path, root) for path in _visible_entries(folder)]
    stray = next((path for path in entries if path.suffix.lower() in SUFFIXES), None)
    if stray and not stray.is_dir():
        raise ValueError(f"{stray} is in no class folder; expected CLASS/{stray.name}.")
    return tuple(path.name for path in entries if path.is_dir())


def _image_files(folder: Path, root: Path) -> list[Path]:
    paths = [_checked_link(path, root) for path in _visible_entries(folder)]
    for path in paths:
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            raise ValueError(f"{path}: expected only files ending in {', '.join(SUFFIXES)} here.")
    if not paths:
        raise ValueError(f"{folder} has no images; expected some of every class.")
    return paths


def _visible_entries(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.name.lower() not in LEFT_BEHIND
    )


def _checked_link(path: Path, root: Path) -> Path:
    if not path.is_symlink():
        return path
    if not path.exists():
        raise ValueError(f"{path} is a link that leads nowhere: take it out.")
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{path} leads out of {root}: put the images themselves there.")
    return path
