"""A damaged copy of CIFAR-10 is refused in one sentence that names the file and what was expected of it."""

import gzip
import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from cifar10_copies import (
    COUNTS,
    TEST,
    TRAIN,
    arrays,
    planes,
    python2_pickle,
    python3_batch,
    write_archive,
    write_binary,
    write_npz,
    write_pngs,
    write_python,
)
from PIL import Image

from baselines import cifar10_archive
from baselines.cifar10_checks import FULL
from baselines.cifar10_files import load


def complaint(path: Path, test: bool = False) -> str:
    """What is said about the copy at `path`, by reading its training images or, if `test`, its test images."""
    look = (
        load(path, pytest.fail, COUNTS).open_test
        if test
        else lambda: load(path, pytest.fail, COUNTS)
    )
    with pytest.raises((ValueError, OSError)) as caught:
        look()
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_a_path_that_is_not_there(tmp_path):
    sentence = complaint(tmp_path / "nowhere")
    assert sentence.startswith(f"{tmp_path / 'nowhere'}: no such file or folder; expected ")


def test_a_folder_without_data(tmp_path):
    assert f"{tmp_path}: no CIFAR-10 in this folder; expected " in complaint(tmp_path)


def test_a_file_that_is_no_data(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    assert "notes.txt: neither a .tar.gz nor an .npz" in complaint(tmp_path / "notes.txt")


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch"])
@pytest.mark.parametrize(("write", "suffix"), [(write_binary, ".bin"), (write_python, "")])
def test_a_missing_batch(write, suffix, name, tmp_path):
    folder = write(tmp_path / "copy")
    (folder / f"{name}{suffix}").unlink()
    assert complaint(folder).startswith(f"{folder / name}{suffix} is missing")


@pytest.mark.parametrize("name", ["data_batch_2.bin", "test_batch.bin"])
@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content + b"x"])
def test_a_binary_batch_of_another_size_even_the_test_batch_is_refused_at_once(
    name, change, tmp_path
):
    path = write_binary(tmp_path / "copy") / name
    path.write_bytes(change(path.read_bytes()))
    sentence = complaint(path.parent)
    records = {"data_batch_2.bin": 40, "test_batch.bin": 50}[name]
    assert str(path) in sentence
    assert f"a batch of {records} images has {records * 3073:,} ({records} x 3,073)" in sentence


def test_the_full_data_have_30_730_000_bytes_a_batch(tmp_path):
    folder = write_binary(tmp_path / "copy")
    with pytest.raises(ValueError, match=r"has 30,730,000 \(10,000 x 3,073\)"):
        load(folder, pytest.fail, FULL)


def test_a_label_outside_its_range(tmp_path):
    images, labels = TRAIN
    folder = write_binary(
        tmp_path / "copy", (images, np.where(labels == 9, 10, labels).astype(np.uint8))
    )
    assert f"{folder}: its labels go from 0 to 10; expected 0 to 9" in complaint(folder)


def test_a_batch_that_is_there_twice(tmp_path):
    images, _ = TRAIN
    folder = write_binary(tmp_path / "copy", (images, np.sort(TRAIN[1])))
    shutil.copy(folder / "data_batch_1.bin", folder / "data_batch_2.bin")
    sentence = complaint(folder)
    assert "40 images are labelled airplane; expected 20 of each class" in sentence


@pytest.mark.parametrize("name", ["data_batch_4", "test_batch"])
@pytest.mark.parametrize("keep", [0, 10, 1000])
def test_a_python_batch_that_is_too_small_even_the_test_batch_is_refused_at_once(
    keep, name, tmp_path
):
    path = write_python(tmp_path / "copy") / name
    path.write_bytes(path.read_bytes()[:keep])
    records = {"data_batch_4": 40, "test_batch": 50}[name]
    expected = f"a pickled batch of {records} images has more than {records * 3072:,}"
    assert f"{path}: {keep:,} bytes; {expected}" in complaint(path.parent)


def test_a_truncated_pickle(tmp_path):
    path = write_python(tmp_path / "copy") / "data_batch_4"
    path.write_bytes(path.read_bytes()[:-1])
    assert f"{path}: not a whole pickled batch" in complaint(path.parent)


def pickled(tmp_path: Path, **instead: object) -> Path:
    import pickle

    folder = write_python(tmp_path / "copy")
    batch = {k.decode(): v for k, v in python3_batch(planes(TEST[0]), TEST[1]).items()} | instead
    batch["padding"] = bytes(200_000)  # it must not be refused for its size
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
def test_a_pickle_of_something_else(instead, expected, tmp_path):
    folder = pickled(tmp_path, **instead)
    sentence = complaint(folder, test=True)
    assert str(folder / "test_batch") in sentence
    assert expected in sentence


def test_a_pickled_array_with_too_few_bytes(tmp_path):
    folder = write_python(tmp_path / "copy")
    content = python2_pickle(planes(TEST[0]), TEST[1]).replace(
        b"M\x32\x00M\x00\x0c", b"M\x33\x00M\x00\x0c"
    )
    (folder / "test_batch").write_bytes(content)
    assert "do not fill an array of shape [51, 3072]" in complaint(folder, test=True)


@pytest.mark.parametrize("part", ["train", "test"])
def test_class_folders_with_a_missing_class(part, tmp_path):
    folder = write_pngs(tmp_path / "copy")
    shutil.rmtree(folder / part / "horse")
    sentence = complaint(folder)
    assert sentence.startswith(f"{folder / part / 'horse'} is missing; expected a folder of ")


def test_class_folders_without_a_test_part(tmp_path):
    folder = write_pngs(tmp_path / "copy")
    shutil.rmtree(folder / "test")
    assert f"{folder / 'test' / 'airplane'} is missing" in complaint(folder)


def test_class_folders_with_too_few_images(tmp_path):
    folder = write_pngs(tmp_path / "copy")
    next((folder / "test" / "cat").iterdir()).unlink()
    assert f"{folder / 'test' / 'cat'}: 4 PNG files; expected 5" in complaint(folder)


def test_a_png_of_the_wrong_size(tmp_path):
    path = sorted((write_pngs(tmp_path / "copy") / "train" / "dog").iterdir())[0]
    Image.new("RGB", (32, 31)).save(path)
    sentence = complaint(tmp_path / "copy")
    assert sentence == f"{path}: 32 x 31 pixels (width x height); expected 32 x 32."


@pytest.mark.parametrize(
    "change", [lambda content: content[:-1], lambda _: b"", lambda _: b"GIF89a"]
)
def test_a_damaged_png_of_the_test_part_is_refused_at_once(change, tmp_path):
    path = sorted((write_pngs(tmp_path / "copy") / "test" / "dog").iterdir())[0]
    path.write_bytes(change(path.read_bytes()))
    assert complaint(tmp_path / "copy") == f"{path}: not a whole PNG file; get it again."


def test_a_png_of_the_wrong_size_in_the_test_part_is_refused_at_once(tmp_path):
    path = sorted((write_pngs(tmp_path / "copy") / "test" / "dog").iterdir())[0]
    Image.new("RGB", (32, 31)).save(path)
    sentence = complaint(tmp_path / "copy")
    assert sentence == f"{path}: 32 x 31 pixels (width x height); expected 32 x 32."


def test_a_png_with_transparency(tmp_path):
    path = sorted((write_pngs(tmp_path / "copy") / "train" / "dog").iterdir())[0]
    Image.new("RGBA", (32, 32)).save(path)
    assert (
        complaint(tmp_path / "copy")
        == f"{path}: a PNG of mode RGBA; expected RGB, 8 bits a channel."
    )


@pytest.mark.parametrize(
    "change", [lambda content: content[: len(content) // 2], lambda _: b"GIF89a"]
)
def test_a_png_that_is_damaged(change, tmp_path):
    path = sorted((write_pngs(tmp_path / "copy") / "train" / "dog").iterdir())[0]
    path.write_bytes(change(path.read_bytes()))
    assert complaint(tmp_path / "copy") == f"{path}: not a whole PNG file; get it again."


def test_a_jpeg_by_the_name_of_a_png(tmp_path):
    path = sorted((write_pngs(tmp_path / "copy") / "train" / "dog").iterdir())[0]
    Image.new("RGB", (32, 32)).save(path, format="JPEG")
    assert f"{path}: not a whole PNG file" in complaint(tmp_path / "copy")


def test_a_png_that_claims_to_be_huge_is_not_decoded(tmp_path):
    path = sorted((write_pngs(tmp_path / "copy") / "train" / "dog").iterdir())[0]
    content = bytearray(path.read_bytes())
    content[16:24] = (100_000).to_bytes(4, "big") * 2  # width and height in the header
    path.write_bytes(content)
    assert str(path) in complaint(tmp_path / "copy")


@pytest.mark.parametrize("name", ["x_train", "y_train", "x_test", "y_test"])
def test_an_npz_without_one_of_its_arrays(name, tmp_path):
    path = write_npz(tmp_path / "c.npz", **{name: None})
    assert (
        complaint(path)
        == f"{path}: has no array {name}; expected x_train, y_train, x_test, y_test."
    )


@pytest.mark.parametrize(
    ("instead", "expected"),
    [
        ({"x_train": TRAIN[0][:-1]}, "x_train is uint8 of shape [199, 32, 32, 3]; expected uint8"),
        ({"x_test": TEST[0] / 255}, "x_test is float64 of shape [50, 32, 32, 3]; expected uint8"),
        ({"x_test": TEST[0].transpose(0, 3, 1, 2)}, "shape [50, 3, 32, 32]; expected uint8"),
        ({"y_test": TEST[1][:-1]}, "y_test is uint8 of shape [49]; expected whole numbers"),
        ({"y_train": TRAIN[1] / 1}, "y_train is float64 of shape [200]; expected whole numbers"),
        ({"y_train": np.full(200, -1)}, "its labels go from -1 to -1; expected 0 to 9"),
        ({"y_train": TRAIN[1].astype(np.int64) + 256}, "its labels go from 256 to 265; expected"),
        ({"x_train": np.full(200, None)}, "x_train is object of shape [200]; expected uint8"),
    ],
)
def test_an_npz_with_a_wrong_array(instead, expected, tmp_path):
    path = write_npz(tmp_path / "c.npz", **instead)
    sentence = complaint(path)
    assert sentence.startswith(f"{path}: ")
    assert expected in sentence


def test_a_text_file_by_the_name_of_an_npz(tmp_path):
    (tmp_path / "c.npz").write_text("hello")
    assert "c.npz: not a whole .npz file" in complaint(tmp_path / "c.npz")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.999])
def test_a_truncated_npz(part, tmp_path):
    path = write_npz(tmp_path / "c.npz")
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    assert f"{path}: not a whole .npz file" in complaint(path)


def test_an_npz_with_flipped_bytes(tmp_path):
    path = write_npz(tmp_path / "c.npz")
    content = bytearray(path.read_bytes())
    content[5000:5100] = bytes(100)
    path.write_bytes(content)
    assert f"{path}: not a whole .npz file" in complaint(path)


def test_an_npz_whose_array_is_none(tmp_path):
    with zipfile.ZipFile(write_npz(tmp_path / "c.npz", x_test=None), "a") as archive:
        archive.writestr("x_test.npy", b"hello")
    assert f"{tmp_path / 'c.npz'}: not a whole .npz file" in complaint(tmp_path / "c.npz")


def test_an_npz_that_claims_an_array_of_any_size_is_refused_before_room_is_made(tmp_path):
    header = io.BytesIO()
    shape = (10**9, 32, 32, 3)
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    with zipfile.ZipFile(write_npz(tmp_path / "c.npz", x_train=None), "a") as archive:
        archive.writestr("x_train.npy", header.getvalue())
    assert "x_train is uint8 of shape [1000000000, 32, 32, 3]" in complaint(tmp_path / "c.npz")


@pytest.mark.parametrize("part", [0.01, 0.5, 0.999])
def test_a_truncated_archive(part, tmp_path):
    path = write_archive(tmp_path / "c.tar.gz", write_python(tmp_path / "cifar-10-batches-py"))
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    sentence = complaint(path)
    assert sentence.startswith(f"{path}: ")
    assert "get it again" in sentence


def test_an_archive_without_one_batch(tmp_path):
    folder = write_python(tmp_path / "cifar-10-batches-py")
    (folder / "test_batch").unlink()
    path = write_archive(tmp_path / "c.tar.gz", folder)
    assert f"{path}/cifar-10-batches-py/test_batch is missing" in complaint(path)


def test_an_archive_that_unpacks_without_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar10_archive, "MAX_UNPACKED", 1_000_000)
    path = tmp_path / "bomb.tar.gz"
    with (
        gzip.open(path, "wb", compresslevel=1) as stream,
        tarfile.open(fileobj=stream, mode="w|") as tar,
    ):
        member = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        member.size = 50_000_000
        tar.addfile(member, io.BytesIO(bytes(member.size)))
    assert "unpacks to more than 1,000,000 bytes" in complaint(path)


def test_an_archive_writes_nothing_wherever_its_members_point(tmp_path):
    path = tmp_path / "home" / "evil.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        for name in ("../escaped", f"{tmp_path}/absolute", "../cifar-10-batches-py/data_batch_1"):
            member = tarfile.TarInfo(name)
            member.size = 200_000
            tar.addfile(member, io.BytesIO(bytes(member.size)))
        link = tarfile.TarInfo("cifar-10-batches-py/test_batch")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
    assert "cifar-10-batches-py/data_batch_2 is missing" in complaint(path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["evil.tar.gz", "home"]


def test_test_images_are_checked_as_training_images_are(tmp_path):
    images, labels = arrays(COUNTS.test, seed=4)
    folder = write_binary(tmp_path / "copy", test=(images, np.zeros_like(labels)))
    assert "50 images are labelled airplane; expected 5 of each class" in complaint(
        folder, test=True
    )
