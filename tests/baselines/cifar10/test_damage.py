"""A damaged copy of CIFAR-10 is refused in one sentence that names the file and the expected content."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from baselines.cifar10.find import load
from baselines.cifar10.spec import FULL
from support.cifar10_copies import (
    COUNTS,
    TEST,
    TRAIN,
    arrays,
    complaint,
    planes,
    python2_pickle,
    python3_batch,
    write_binary,
    write_python,
)


def test_a_path_that_does_not_exist_is_refused(tmp_path):
    sentence = complaint(tmp_path / "nowhere")
    assert sentence.startswith(f"{tmp_path / 'nowhere'}: no such file or folder; expected ")


def test_a_folder_without_data_is_refused(tmp_path):
    assert f"{tmp_path}: no CIFAR-10 in this folder; expected " in complaint(tmp_path)


def test_a_text_file_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    assert "notes.txt: neither a .tar.gz nor an .npz" in complaint(tmp_path / "notes.txt")


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch"])
@pytest.mark.parametrize(("write", "suffix"), [(write_binary, ".bin"), (write_python, "")])
def test_a_missing_batch_is_named(write, suffix, name, tmp_path):
    folder = write(tmp_path / "copy")
    (folder / f"{name}{suffix}").unlink()
    assert complaint(folder).startswith(f"{folder / name}{suffix} is missing")


@pytest.mark.parametrize("name", ["data_batch_2.bin", "test_batch.bin"])
@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content + b"x"])
def test_load_refuses_a_binary_train_or_test_batch_of_the_wrong_size(name, change, tmp_path):
    path = write_binary(tmp_path / "copy") / name
    path.write_bytes(change(path.read_bytes()))
    sentence = complaint(path.parent)
    records = {"data_batch_2.bin": 40, "test_batch.bin": 50}[name]
    assert str(path) in sentence
    assert f"a batch of {records} images has {records * 3073:,} ({records} x 3,073)" in sentence


def test_a_batch_of_the_full_data_must_have_30_730_000_bytes(tmp_path):
    folder = write_binary(tmp_path / "copy")
    with pytest.raises(ValueError, match=r"has 30,730,000 \(10,000 x 3,073\)"):
        load(folder, pytest.fail, FULL)


def test_a_label_above_9_is_refused(tmp_path):
    images, labels = TRAIN
    folder = write_binary(
        tmp_path / "copy", (images, np.where(labels == 9, 10, labels).astype(np.uint8))
    )
    sentence = f"{folder}/data_batch_1.bin: its labels go from 0 to 10; expected 0 to 9"
    assert sentence in complaint(folder)


def test_a_duplicated_batch_is_refused(tmp_path):
    images, _ = TRAIN
    folder = write_binary(tmp_path / "copy", (images, np.sort(TRAIN[1])))
    shutil.copy(folder / "data_batch_1.bin", folder / "data_batch_2.bin")
    sentence = complaint(folder)
    assert "40 images are labelled airplane; expected 20 of each class" in sentence


@pytest.mark.parametrize("name", ["data_batch_4", "test_batch"])
@pytest.mark.parametrize("keep", [0, 10, 1000])
def test_load_refuses_a_python_train_or_test_batch_that_is_too_small(keep, name, tmp_path):
    path = write_python(tmp_path / "copy") / name
    path.write_bytes(path.read_bytes()[:keep])
    records = {"data_batch_4": 40, "test_batch": 50}[name]
    expected = f"a pickled batch of {records} images has more than {records * 3072:,}"
    assert f"{path}: {keep:,} bytes; {expected}" in complaint(path.parent)


def test_a_truncated_pickle_is_refused(tmp_path):
    path = write_python(tmp_path / "copy") / "data_batch_4"
    path.write_bytes(path.read_bytes()[:-1])
    assert f"{path}: not a whole pickled batch" in complaint(path.parent)


def pickled(tmp_path: Path, **instead: object) -> Path:
    import pickle

    folder = write_python(tmp_path / "copy")
    batch = {k.decode(): v for k, v in python3_batch(planes(TEST[0]), TEST[1]).items()} | instead
    batch["padding"] = bytes(200_000)  # large enough not to be refused for its size
    (folder / "test_batch").write_bytes(
        pickle.dumps({k: v for k, v in batch.items() if v is not None}, 4)
    )
    return folder


@pytest.mark.parametrize(
    ("instead", "expected"),
    [
        ({"data": None}, "has no 'data'"),
        ({"labels": None}, "has no 'labels'"),
        ({"data": "x"}, "its data are str; expected uint8 [50, 3072]"),
        (
            {"data": planes(TEST[0])[:-1]},
            "its data are uint8 [49, 3072]; expected uint8 [50, 3072]",
        ),
        (
            {"data": planes(TEST[0]).astype(np.int64)},
            "its data are int64 [50, 3072]; expected uint8",
        ),
        ({"data": planes(TEST[0]).astype(float)}, "an array of type 'f8'"),
        ({"labels": [0] * 49}, "its labels are not a list of 50 numbers"),
        ({"labels": "0" * 50}, "its labels are not a list of 50 numbers"),
        ({"labels": [0.5] * 50}, "a label is not a whole number from 0 to 9"),
        ({"labels": [-1] * 50}, "a label is not a whole number from 0 to 9"),
    ],
)
def test_a_pickle_with_wrong_content_is_refused(instead, expected, tmp_path):
    folder = pickled(tmp_path, **instead)
    sentence = complaint(folder, test=True)
    assert str(folder / "test_batch") in sentence
    assert expected in sentence


def test_a_pickled_array_with_too_few_bytes_is_refused(tmp_path):
    folder = write_python(tmp_path / "copy")
    content = python2_pickle(planes(TEST[0]), TEST[1]).replace(
        b"M\x32\x00M\x00\x0c", b"M\x33\x00M\x00\x0c"
    )
    (folder / "test_batch").write_bytes(content)
    assert "do not fill an array of shape [51, 3072]" in complaint(folder, test=True)


def test_class_counts_of_test_images_are_checked_like_those_of_training_images(tmp_path):
    images, labels = arrays(COUNTS.test, seed=4)
    folder = write_binary(tmp_path / "copy", test=(images, np.zeros_like(labels)))
    assert "50 images are labelled airplane; expected 5 of each class" in complaint(
        folder, test=True
    )
