"""Read labeled images or features from a folder or an `.npz` as a data set. Missing splits are taken from train."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from compress.data import cifar_batches
from compress.data.dataset import Dataset, Note, Split
from compress.data.image_file import MAX_BYTES
from compress.data.image_folder import PARTS, read_folder
from compress.data.npz_images import read_arrays
from compress.data.preparation import Preparation
from compress.data.splits import content_order, split_by_class

# Fraction of the images of each class that goes into a missing split.
TEST_FRACTION = VALIDATION_FRACTION = 0.15
AS_THEY_ARE = Preparation()


def read(path: Path, note: Note, preparation: Preparation = AS_THEY_ARE) -> Dataset:
    """The data at `path`. Missing splits are made by content, so that every copy of the data gives the same splits.

    Args:
      preparation: is applied to all images. Missing splits are made after resizing, before the other steps.

    Raises:
      ValueError: there is no folder or .npz file, its content is wrong, or a split lacks a class.
    """
    if path.is_dir():
        batches = cifar_batches.found_in(path)
        classes, parts = (
            cifar_batches.read_batches(*batches)
            if batches
            else read_folder(path, preparation.resize)
        )
    elif path.suffix.lower() == ".npz" and path.is_file():
        classes, parts = read_arrays(path)
    else:
        problem = "is neither" if path.exists() else "is not there"
        raise ValueError(
            f"{path} {problem}; expected a folder of images by class or of CIFAR-10's batches, or an .npz file."
        )
    title = path.resolve().name if path.is_dir() else path.stem
    preparation.check(parts["train"], title)
    _check_room(parts, preparation, path)
    made = [part for part in PARTS if part not in parts]
    train, validation, test = deal({k: preparation.resized(v) for k, v in parts.items()})
    for part, split in zip(PARTS, (train, validation, test), strict=True):
        missing = sorted(set(range(len(classes))) - set(split.labels.tolist()))
        if missing:
            raise ValueError(
                f"{path}: no image of class {classes[missing[0]]} in {part}; expected some of every class."
            )
    called = "examples" if train.is_features else "images"
    origin = f"; {' and '.join(made)} taken from train by content" if made else ""
    note(
        f"{title}: {len(train):,} {called} to train on, {len(validation):,} to choose by, {len(test):,} to "
        f"measure on, in {len(classes)} classes{origin}."
    )
    shared = len(_image_digests(test) & (_image_digests(train) | _image_digests(validation)))
    if shared:
        note(
            f"{title}: {shared:,} of the test {called} are also among those to train on or to choose by."
        )
    if preparation.changed():
        train, validation, test = map(preparation.applied, (train, validation, test))
    # The name contains a digest of the content, so that two different data sets never share a name.
    content = hashlib.sha256("".join(s.digest for s in (train, validation, test)).encode())
    name = re.sub(r"[^\w.-]", "_", title)
    return Dataset(f"{name}-{content.hexdigest()[:8]}", classes, train, validation, lambda: test)


def _check_room(parts: Mapping[str, Split], preparation: Preparation, path: Path) -> None:
    if not preparation.changed():
        return
    height, width = preparation.resize or parts["train"].images.shape[1:3]
    channels = parts["train"].images.shape[-1]
    size = sum(map(len, parts.values())) * height * width * channels
    size *= 4 if preparation.normalizes else 1
    if size > MAX_BYTES:
        raise ValueError(
            f"{path}: {size:,} bytes of prepared images; expected at most {MAX_BYTES:,}: give fewer or smaller ones."
        )


def deal(parts: Mapping[str, Split]) -> tuple[Split, Split, Split]:
    """Train, validation and test, each in content order. Missing splits are taken from train, class by class.

    If a split is missing, only the first of equal images with the same label is kept: copies could land in two splits.
    """
    ordered = {}
    for part, split in parts.items():
        order = content_order(split.images, split.labels, seed=0)
        ordered[part] = Split(split.images[order], split.labels[order].astype(np.int64))
    if len(ordered) < len(PARTS):
        ordered["train"] = _without_repeats(ordered["train"])
    whole = ordered["train"]
    left = 1.0
    for part, fraction in (("test", TEST_FRACTION), ("validation", VALIDATION_FRACTION)):
        if part not in ordered:
            whole, ordered[part] = split_by_class(whole.images, whole.labels, fraction / left)
            left -= fraction
    return whole, ordered["validation"], ordered["test"]


def _without_repeats(split: Split) -> Split:
    """The split without repeated images of the same label. In content order, equal images are neighbors."""
    flat = split.images.reshape(len(split), -1)
    same = (flat[1:] == flat[:-1]).all(axis=1) & (split.labels[1:] == split.labels[:-1])
    first = np.concatenate([[True], ~same])
    return Split(split.images[first], split.labels[first])


def _image_digests(split: Split) -> set[bytes]:
    return {hashlib.sha256(np.ascontiguousarray(image).data).digest() for image in split.images}
