"""Images in folders by class: one folder for all, or one each for train, validation and test. Files are untrusted."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from compress.data.dataset import Split
from compress.input_file import regular

if TYPE_CHECKING:
    from PIL.Image import Image

PARTS = ("train", "validation", "test")
FORMATS = ("PNG", "JPEG")
SUFFIXES = (".png", ".jpg", ".jpeg")
# Files that file managers leave behind. Names that begin with a dot are ignored too.
LEFT_BEHIND = ("thumbs.db", "desktop.ini")
# Pillow modes that convert to grey or RGB without loss. Optimisers store grey images as 1 or L, palettes as P.
GREY, COLOUR = ("1", "L"), ("P", "RGB")
MAX_BYTES = 4_000_000_000  # of all pixels, decoded
# Most decoded bytes per byte of file; ALWAYS_BYTES are always allowed, as images of one colour compress well.
MAX_RATIO, ALWAYS_BYTES = 100, 2**26


def read_folder(root: Path) -> tuple[tuple[str, ...], dict[str, Split]]:
    """The class names, sorted, and the splits found: "train" alone if the class folders lie directly in `root`.

    Labels follow the sorted names, as in Keras's image_dataset_from_directory. Images are uint8 [n, h, w, 1] if all
    are grey, else [n, h, w, 3].

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
    pixels = read_images([path for part in files.values() for paths in part for path in paths])
    splits, begin = {}, 0
    for part, of_class in files.items():
        labels = np.repeat(np.arange(len(classes)), [len(paths) for paths in of_class])
        splits[part] = Split(pixels[begin : begin + len(labels)], labels)
        begin += len(labels)
    return classes, splits


def read_images(
    paths: Sequence[Path],
    size: tuple[int, int] | None = None,
    formats: Sequence[str] = FORMATS,
) -> np.ndarray:
    """The images in these files, uint8 [n, h, w, 1 or 3], all of one size; sizes are checked before pixels are read.

    Args:
      size: width and height; None for those of the first image.
      formats: what the files may be, in Pillow's words.
    """
    width, height = size or _size(paths[0], formats)
    if len(paths) * width * height * 3 > MAX_BYTES:
        raise ValueError(
            f"{paths[0]} and {len(paths) - 1:,} more images of {width} x {height} pixels: more than "
            f"{MAX_BYTES:,} bytes of pixels; give fewer or smaller ones."
        )
    wanted = f"; expected {width} x {height}."
    if size is None:
        wanted = f", but {paths[0]} has {width} x {height}: bring all images to one size first."
    pixels = np.empty((len(paths), height, width, 3), np.uint8)
    grey = True
    for number, path in enumerate(paths):
        with regular(path).open("rb") as file:
            image = _opened(file, path, (width, height), wanted, formats)
            with _refusals_named(path, formats):
                pixels[number] = np.asarray(image.convert("RGB"))
            grey = grey and image.mode in GREY
    return np.ascontiguousarray(pixels[..., :1]) if grey else pixels


def check_png(path: Path, size: tuple[int, int]) -> None:
    """Raise ValueError unless a file begins and ends as a PNG of this width and height. Pixels are not decoded."""
    with regular(path).open("rb") as file:
        _opened(file, path, size, f"; expected {size[0]} x {size[1]}.", ["PNG"])
        file.seek(-12, os.SEEK_END)
        if file.read()[4:8] != b"IEND":
            raise _not_whole(path, ["PNG"])


def _opened(
    file: IO[bytes], path: Path, size: tuple[int, int], wanted: str, formats: Sequence[str]
) -> Image:
    """Open an image and check its header. Its pixels are not decoded yet.

    Args:
      wanted: the end of the message for an image of another size.
    """
    from PIL import Image

    if (bits := _png_bits(file)) > 8:
        raise ValueError(f"{path}: an image of {bits} bits a channel; expected 8: save it with 8.")
    with _refusals_named(path, formats):
        image = Image.open(file, formats=tuple(formats))
    if image.size != size:
        raise ValueError(f"{path}: {image.width} x {image.height} pixels (width x height){wanted}")
    size_bytes = path.stat().st_size
    if size[0] * size[1] * 3 > max(MAX_RATIO * size_bytes, ALWAYS_BYTES):
        raise ValueError(
            f"{path}: {size[0]} x {size[1]} pixels in {size_bytes:,} bytes, which is no picture; take it out."
        )
    see_through = image.mode == "P" and "transparency" in image.info
    if see_through or image.mode not in (*GREY, *COLOUR):
        raise ValueError(
            f"{path}: an image of mode {image.mode}, or with transparency; expected grey or RGB, 8 bits a channel: "
            "save it without."
        )
    return image


def _png_bits(file: IO[bytes]) -> int:
    """Bits per channel in the header of an open PNG; 0 for any other file. Pillow cuts 16 bits to 8 silently."""
    head = file.read(25)
    file.seek(0)
    return head[24] if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) == 25 else 0


def _size(path: Path, formats: Sequence[str]) -> tuple[int, int]:
    from PIL import Image

    with regular(path).open("rb") as file:
        with _refusals_named(path, formats):
            image = Image.open(file, formats=tuple(formats))
        return image.size


@contextmanager
def _refusals_named(path: Path, formats: Sequence[str]) -> Iterator[None]:
    """Raise one ValueError for all exceptions by which Pillow refuses a file that is no image, damaged or enormous."""
    from PIL import Image

    bomb = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        yield
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, *bomb) as error:
        raise _not_whole(path, formats) from error


def _not_whole(path: Path, formats: Sequence[str]) -> ValueError:
    return ValueError(f"{path}: not a whole {' or '.join(formats)} image; get it again.")


def _parts(root: Path) -> dict[str, Path]:
    """Split -> folder of its class folders."""
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
