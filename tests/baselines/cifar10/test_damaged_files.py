"""Damaged class folders, `.npz` files and archives are refused in one sentence that names the file."""

import gzip
import io
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from baselines.cifar10 import archive as cifar10_archive
from support.cifar10_copies import (
    TEST,
    TRAIN,
    complaint,
    write_archive,
    write_npz,
    write_pngs,
    write_python,
)
from support.own_images import save_16_bits


@pytest.mark.parametrize("part", ["train", "test"])
def test_class_folders_with_a_missing_class_are_refused(part, tmp_path):
    folder = write_pngs(tmp_path / "copy")
    shutil.rmtree(folder / part / "horse")
    sentence = complaint(folder)
    assert sentence.startswith(f"{folder / part / 'horse'} is missing; expected a folder of ")


def test_class_folders_without_a_test_part_are_refused(tmp_path):
    folder = write_pngs(tmp_path / "copy")
    shutil.rmtree(folder / "test")
    assert f"{folder / 'test' / 'airplane'} is missing" in complaint(folder)


def test_class_folders_with_too_few_images_are_refused(tmp_path):
    folder = write_pngs(tmp_path / "copy")
    next((folder / "test" / "cat").iterdir()).unlink()
    assert f"{folder / 'test' / 'cat'}: 4 PNG files; expected 5" in complaint(folder)


def test_a_training_png_of_the_wrong_size_is_refused(tmp_path):
    path = sorted((write_pngs(tmp_path / "copy") / "train" / "dog").iterdir())[0]
    Image.new("RGB", (32, 31)).save(path)
    sentence = complaint(tmp_path / "copy")
    assert sentence == f"{path}: 32 x 31 pixels (width x height); expected 32 x 32."


@pytest.mark.parametrize(
    "change", [lambda content: content[:-1], lambda _: b"", lambda _: b"GIF89a"]
)
def test_load_refuses_a_damaged_test_png(change, tmp_path):
    path = sorted((write_pngs(tmp_path / "copy") / "test" / "dog").iterdir())[0]
    path.write_bytes(change(path.read_bytes()))
    assert complaint(tmp_path / "copy") == f"{path}: not a whole PNG image; get it again."


def test_load_refuses_a_test_png_of_the_wrong_size(tmp_path):
    path = sorted((write_pngs(tmp_path / "copy") / "test" / "dog").iterdir())[0]
    Image.new("RGB", (32, 31)).save(path)
    sentence = complaint(tmp_path / "copy")
    assert sentence == f"{path}: 32 x 31 pixels (width x height); expected 32 x 32."


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_png_of_16_bits_is_refused(part, tmp_path):
    path = sorted((write_pngs(tmp_path / "copy") / part / "dog").iterdir())[0]
    save_16_bits(path, 32, 32)
    assert (
        complaint(tmp_path / "copy")
        == f"{path}: an image of 16 bits a channel; expected 8: save it with 8."
    )


@pytest.mark.parametrize(("mode", "words"), [("RGBA", {}), ("P", {"transparency": 0})])
def test_a_png_with_transparency_is_refused(mode, words, tmp_path):
    path = sorted((write_pngs(tmp_path / "copy") / "train" / "dog").iterdir())[0]
    Image.new(mode, (32, 32)).save(path, **words)
    sentence = complaint(tmp_path / "copy")
    assert sentence.startswith(f"{path}: an image of mode {mode}, or with transparency; expected")


@pytest.mark.parametrize(
    "change", [lambda content: content[: len(content) // 2], lambda _: b"GIF89a"]
)
def test_a_damaged_training_png_is_refused(change, tmp_path):
    path = sorted((write_pngs(tmp_path / "copy") / "train" / "dog").iterdir())[0]
    path.write_bytes(change(path.read_bytes()))
    assert complaint(tmp_path / "copy") == f"{path}: not a whole PNG image; get it again."


def test_a_jpeg_with_the_name_of_a_png_is_refused(tmp_path):
    path = sorted((write_pngs(tmp_path / "copy") / "train" / "dog").iterdir())[0]
    Image.new("RGB", (32, 32)).save(path, format="JPEG")
    assert f"{path}: not a whole PNG image" in complaint(tmp_path / "copy")


def test_a_png_that_claims_to_be_huge_is_not_decoded(tmp_path):
    path = sorted((write_pngs(tmp_path / "copy") / "train" / "dog").iterdir())[0]
    content = bytearray(path.read_bytes())
    content[16:24] = (100_000).to_bytes(4, "big") * 2  # width and height in the header
    path.write_bytes(content)
    assert str(path) in complaint(tmp_path / "copy")


@pytest.mark.parametrize("name", ["x_train", "y_train", "x_test", "y_test"])
def test_an_npz_without_one_of_its_arrays_is_refused(name, tmp_path):
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
def test_an_npz_with_a_wrong_array_is_refused(instead, expected, tmp_path):
    path = write_npz(tmp_path / "c.npz", **instead)
    sentence = complaint(path)
    assert sentence.startswith(f"{path}: ")
    assert expected in sentence


def test_a_text_file_with_the_name_of_an_npz_is_refused(tmp_path):
    (tmp_path / "c.npz").write_text("hello")
    assert "c.npz: not a whole .npz file" in complaint(tmp_path / "c.npz")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.999])
def test_a_truncated_npz_is_refused(part, tmp_path):
    path = write_npz(tmp_path / "c.npz")
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    assert f"{path}: not a whole .npz file" in complaint(path)


def test_an_npz_with_changed_bytes_is_refused(tmp_path):
    path = write_npz(tmp_path / "c.npz")
    content = bytearray(path.read_bytes())
    content[5000:5100] = bytes(100)
    path.write_bytes(content)
    assert f"{path}: not a whole .npz file" in complaint(path)


def test_an_npz_with_a_member_that_is_not_an_array_is_refused(tmp_path):
    with zipfile.ZipFile(write_npz(tmp_path / "c.npz", x_test=None), "a") as archive:
        archive.writestr("x_test.npy", b"hello")
    assert f"{tmp_path / 'c.npz'}: not a whole .npz file" in complaint(tmp_path / "c.npz")


def test_an_npz_that_declares_a_huge_array_is_refused_before_allocation(tmp_path):
    header = io.BytesIO()
    shape = (10**9, 32, 32, 3)
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    with zipfile.ZipFile(write_npz(tmp_path / "c.npz", x_train=None), "a") as archive:
        archive.writestr("x_train.npy", header.getvalue())
    assert "x_train is uint8 of shape [1000000000, 32, 32, 3]" in complaint(tmp_path / "c.npz")


@pytest.mark.parametrize("part", [0.01, 0.5, 0.999])
def test_a_truncated_archive_is_refused(part, tmp_path):
    path = write_archive(tmp_path / "c.tar.gz", write_python(tmp_path / "cifar-10-batches-py"))
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    sentence = complaint(path)
    assert sentence.startswith(f"{path}: ")
    assert "get it again" in sentence


def test_an_archive_without_one_batch_is_refused(tmp_path):
    folder = write_python(tmp_path / "cifar-10-batches-py")
    (folder / "test_batch").unlink()
    path = write_archive(tmp_path / "c.tar.gz", folder)
    assert f"{path}/cifar-10-batches-py/test_batch is missing" in complaint(path)


def test_an_archive_that_unpacks_to_too_many_bytes_is_refused(tmp_path, monkeypatch):
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


def test_an_archive_with_a_sparse_batch_is_refused_before_its_zeros_are_made(tmp_path):
    path = tmp_path / "sparse.tar.gz"
    member = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
    member.pax_headers = {"GNU.sparse.size": "50000000", "GNU.sparse.map": "50000000,0"}
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(member)
    assert path.stat().st_size < 1000
    sentence = complaint(path)
    assert (
        sentence == f"{path}: data_batch_1 is stored as a sparse file; not CIFAR-10: get it again."
    )


def test_an_archive_with_members_that_point_outside_writes_no_files(tmp_path):
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
