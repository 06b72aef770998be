"""Official CIFAR-10 batches with any number of images are read like other image data."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from compress.data import cifar_batches
from compress.data.cifar_batches import CLASSES
from compress.data.images import read
from support.cifar10_copies import TEST, TRAIN, write_binary, write_python
from support.own_images import digests, pixels_of, quiet


def test_binary_and_python_batches_give_the_same_splits(tmp_path: Path) -> None:
    binary = write_binary(tmp_path / "bin")
    # As the archives unpack: the folder of batches is inside another folder.
    write_python(tmp_path / "py" / "cifar-10-batches-py")
    told: list[str] = []
    one, other = read(binary, told.append), read(tmp_path / "py", quiet)
    assert digests(one) == digests(other)
    assert one.classes == other.classes == CLASSES
    assert told == [
        "bin: 170 images to train on, 30 to choose by, 50 to measure on, in 10 classes; validation taken "
        "from train by content."
    ]
    assert pixels_of(one.open_test()) == {image.tobytes() for image in TEST[0]}
    both = pixels_of(one.train) | pixels_of(one.validation)
    assert both == {image.tobytes() for image in TRAIN[0]}


def missing(folder: Path) -> None:
    (folder / "data_batch_3.bin").unlink()


def cut(folder: Path) -> None:
    path = folder / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-5])


def mislabelled(folder: Path) -> None:
    path = folder / "test_batch.bin"
    path.write_bytes(bytes([10]) + path.read_bytes()[1:])


def empty(folder: Path) -> None:
    (folder / "test_batch.bin").write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (missing, "data_batch_3.bin is missing; a copy of CIFAR-10 has 5 training batches"),
        (cut, "data_batch_2.bin: 122,915 bytes; a batch has 3,073 for each image"),
        (mislabelled, "test_batch.bin: its labels go from 0 to 10; expected 0 to 9"),
        (empty, "test_batch.bin: 0 bytes; a batch has 3,073 for each image"),
    ],
)
def test_damaged_binary_batches_are_refused_in_a_sentence(tmp_path, damage, sentence) -> None:
    damage(write_binary(tmp_path / "bin"))
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        read(tmp_path / "bin", quiet)
    assert sentence in str(caught.value)


def test_batches_that_are_too_large_together_are_refused_before_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_binary(tmp_path / "bin")
    size = sum(path.stat().st_size for path in folder.iterdir())
    monkeypatch.setattr(cifar_batches, "MAX_BYTES", size)
    assert len(read(folder, quiet).train) == 170
    monkeypatch.setattr(cifar_batches, "MAX_BYTES", size - 1)
    cut(folder)  # reading this batch would end in another sentence
    (folder / "test_batch.bin").write_bytes(bytes(60 * cifar_batches.RECORD))
    with pytest.raises(
        ValueError, match=f"{folder}: .* bytes of batches; expected at most 768,249"
    ):
        read(folder, quiet)


class Evil:
    def __reduce__(self) -> tuple:
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize(
    ("batch", "sentence"),
    [
        ({b"data": Evil(), b"labels": [0]}, "refused, nothing in it was run"),
        ({b"labels": [0]}, "has no 'data'"),
        ({b"data": np.zeros((2, 9), np.uint8), b"labels": [0, 1]}, "expected uint8 [2, 3072]"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0]}, "not a list of 2 numbers"),
        ({b"data": np.zeros((0, 3072), np.uint8), b"labels": []}, "not a list of whole numbers"),
        (
            {b"data": np.zeros((2, 3072), np.uint8), b"labels": np.array(0)},
            "not a list of 2 numbers",
        ),
    ],
)
def test_an_invalid_python_batch_is_refused_and_runs_no_code(tmp_path, batch, sentence) -> None:
    folder = write_python(tmp_path / "py")
    (folder / "data_batch_1").write_bytes(pickle.dumps(batch))
    with pytest.raises(ValueError, match="data_batch_1") as caught:
        read(folder, quiet)
    assert sentence in str(caught.value)
    assert not Path("ran").exists()
