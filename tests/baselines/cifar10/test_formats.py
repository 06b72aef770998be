"""Every storage format gives the same arrays, and the test images are read only when asked for."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from baselines.cifar10.find import load
from baselines.cifar10.spec import CLASSES
from compress.data.dataset import Dataset, Split
from support.cifar10_copies import (
    COUNTS,
    TEST,
    TRAIN,
    planes,
    python2_pickle,
    write_archive,
    write_binary,
    write_npz,
    write_pngs,
    write_python,
)

Maker = Callable[[Path], Path]
MAKERS: dict[str, Maker] = {
    "binary batches": lambda tmp: write_binary(tmp / "copy"),
    "parent of binary batches": lambda tmp: write_binary(tmp / "cifar-10-batches-bin").parent,
    "binary archive": lambda tmp: write_archive(
        tmp / "b.tar.gz", write_binary(tmp / "cifar-10-batches-bin")
    ),
    "folder with an archive": lambda tmp: (
        write_archive(
            tmp / "home" / "cifar-10-python.tar.gz", write_python(tmp / "cifar-10-batches-py")
        ).parent
    ),
    "Python 2 batches": lambda tmp: write_python(tmp / "copy"),
    "Python 3 batches, protocol 2": lambda tmp: write_python(tmp / "copy", 2),
    "Python 3 batches, protocol 4": lambda tmp: write_python(tmp / "copy", 4),
    "Python 3 batches, protocol 5": lambda tmp: write_python(tmp / "copy", 5),
    "parent of Python batches": lambda tmp: write_python(tmp / "cifar-10-batches-py").parent,
    "Python archive": lambda tmp: write_archive(
        tmp / "any name", write_python(tmp / "cifar-10-batches-py")
    ),
    "class folders": lambda tmp: write_pngs(tmp / "copy"),
    "npz": lambda tmp: write_npz(tmp / "c.npz"),
    "npz with flat wide labels": lambda tmp: write_npz(tmp / "c.npz", y_train=TRAIN[1].astype(int)),
}


def read(path: Path) -> Dataset:
    return load(path, lambda sentence: None, COUNTS)


def contents(split: Split) -> set[bytes]:
    return {
        bytes([n]) + image.tobytes() for image, n in zip(split.images, split.labels, strict=True)
    }


def union(*splits: Split) -> set[bytes]:
    return set().union(*map(contents, splits))


@pytest.mark.parametrize("form", MAKERS)
def test_every_form_gives_the_same_splits(form, tmp_path):
    found = read(MAKERS[form](tmp_path))
    expected = read(write_binary(tmp_path / "reference"))
    for part in ("train", "validation"):
        assert getattr(found, part).digest == getattr(expected, part).digest
    assert found.open_test().digest == expected.open_test().digest
    assert (found.name, found.classes) == ("cifar10", CLASSES)


def test_pixels_and_labels_are_those_that_were_written(tmp_path):
    found = read(write_binary(tmp_path / "copy"))
    assert union(found.train, found.validation) == contents(Split(*TRAIN))
    assert contents(found.open_test()) == contents(Split(*TEST))
    assert not contents(found.train) & contents(found.validation)
    assert found.train.images.dtype == np.uint8
    assert found.train.images.shape[1:] == (32, 32, 3)


def test_each_class_gives_the_same_share_to_validation(tmp_path):
    found = read(write_binary(tmp_path / "copy"))
    assert np.bincount(found.validation.labels).tolist() == [3] * 10
    assert np.bincount(found.train.labels).tolist() == [17] * 10


def test_the_order_of_rows_in_the_files_does_not_matter(tmp_path):
    rng = np.random.default_rng(3)
    shuffled = [tuple(column[order] for column in part) for part, order in (
        (TRAIN, rng.permutation(COUNTS.train)), (TEST, rng.permutation(COUNTS.test))
    )]  # fmt: skip
    one = read(write_binary(tmp_path / "one"))
    other = read(write_binary(tmp_path / "other", *shuffled))
    assert other.train.digest == one.train.digest
    assert other.validation.digest == one.validation.digest
    assert other.open_test().digest == one.open_test().digest


def test_a_batch_in_column_major_order_gives_the_same_images(tmp_path):
    folder = write_python(tmp_path / "copy")
    rows = np.asfortranarray(planes(TEST[0]))
    (folder / "test_batch").write_bytes(python2_pickle(rows, TEST[1]))
    assert contents(read(folder).open_test()) == contents(Split(*TEST))


def test_test_images_are_read_only_when_asked_for(tmp_path):
    folder = write_python(tmp_path / "copy")
    (folder / "test_batch").write_bytes(b"no pickle" * 20_000)
    found = read(folder)
    with pytest.raises(ValueError, match="test_batch"):
        found.open_test()


@pytest.mark.parametrize("mode", ["L", "P"])
def test_a_png_stored_as_grey_or_palette_gives_the_same_pixels(mode, tmp_path):
    folder = write_pngs(tmp_path / "copy")
    path = sorted((folder / "train" / "frog").iterdir())[0]
    grey = Image.fromarray((np.arange(1024) // 4).astype(np.uint8).reshape(32, 32))
    grey.convert("RGB").save(path)
    plain = read(folder).train.digest
    grey.convert(mode).save(path)
    with Image.open(path) as image:
        assert image.mode == mode
    assert read(folder).train.digest == plain


def test_files_in_class_folders_that_are_not_images_are_ignored(tmp_path):
    folder = write_pngs(tmp_path / "copy")
    (folder / "train" / "frog" / ".DS_Store").write_bytes(b"x")
    assert len(read(folder).train) == 170


def test_an_unofficial_archive_gives_a_note(tmp_path):
    path = write_archive(tmp_path / "c.tar.gz", write_python(tmp_path / "cifar-10-batches-py"))
    notes: list[str] = []
    load(path, notes.append, COUNTS)
    assert len(notes) == 1
    assert "is not an official archive" in notes[0]


def test_a_named_copy_in_the_published_format_gives_no_note(tmp_path):
    notes: list[str] = []
    load(write_binary(tmp_path / "copy"), notes.append, COUNTS)
    assert notes == []
