"""Arrays in an `.npz` give the same splits as class folders; wrong arrays are refused in a sentence."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.data.image_folder import read_folder
from compress.data.images import read
from support.own_images import class_folders, digests, images, of_sides, pixels_of, quiet


def arrays(n: int = 40, **more: Any) -> dict[str, np.ndarray]:
    return {"x_train": images(n), "y_train": np.arange(n) % 2} | more


def npz(tmp_path: Path, **named: Any) -> Path:
    np.savez_compressed(tmp_path / "bugs.npz", **named)
    return tmp_path / "bugs.npz"


def test_arrays_and_folder_of_the_same_images_give_the_same_splits(tmp_path: Path) -> None:
    classes, parts = read_folder(class_folders(tmp_path / "bugs", n=20))
    shuffled = np.random.default_rng(0).permutation(40)
    whole = parts["train"]
    path = npz(tmp_path, x_train=whole.images[shuffled], y_train=whole.labels[shuffled][:, None])
    one, other = read(tmp_path / "bugs", quiet), read(path, quiet)
    assert digests(one) == digests(other)
    assert (classes, other.classes) == (("ant", "bee"), ("0", "1"))


def test_grey_arrays_need_no_channel_axis(tmp_path: Path) -> None:
    data = read(npz(tmp_path, **arrays(x_train=images(40, shape=(6, 5)))), quiet)
    assert data.train.images.shape == (28, 6, 5, 1)


@pytest.mark.parametrize("shape", [(6, 5, 3), (6, 5), (6,)])
def test_float_arrays_are_features_of_their_own_shape(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    features = np.random.default_rng(0).normal(size=(40, *shape)).astype(np.float32)
    told: list[str] = []
    data = read(npz(tmp_path, **arrays(x_train=features)), told.append)
    assert told[0].startswith("bugs: 28 examples to train on")
    assert data.train.is_features
    dealt = np.concatenate([split.images for split in of_sides(data)])
    assert dealt.shape == features.shape
    assert sorted(map(bytes, dealt)) == sorted(map(bytes, features))


def test_splits_given_as_arrays_are_kept(tmp_path: Path) -> None:
    given = {f"x_{p}": images(10, seed=n) for n, p in enumerate(("train", "validation", "test"))}
    labels = {name.replace("x", "y"): np.arange(10) % 2 for name in given}
    data = read(npz(tmp_path, **given, **labels), quiet)
    for split, pixels in zip(of_sides(data), given.values(), strict=True):
        assert pixels_of(split) == {image.tobytes() for image in pixels}


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        (arrays(x_train=images(40) / 255), "x_train is float64 of shape [40, 6, 5, 3]; expected uint8"),
        (arrays(x_train=images(40) / 255), "or [n, values]: cast features to float32."),
        (arrays(x_train=np.float16(images(40))), "cast features to float32"),
        (arrays(x_train=np.float32(np.arange(40))), "x_train is float32 of shape [40]; expected"),
        (arrays(x_train=np.full((40, 2), np.nan, np.float32)), "x_train has NaN or infinite numbers"),
        (
            arrays(x_test=np.float32(images(4)), y_test=np.arange(4) % 2),
            "x_test has float32 examples of shape [6, 5, 3]; expected those of x_train, uint8",
        ),
        (arrays(x_train=images(40, shape=(6, 5, 4))), "expected uint8 pixels [n, h, w] or"),
        (arrays(x_train=images(0), y_train=np.arange(0)), "expected uint8 pixels"),
        (arrays(y_train=np.arange(39)), "expected 40 whole numbers"),
        (arrays(y_train=np.arange(40) / 2), "y_train is float64"),
        (arrays(y_train=np.array([None] * 40)), "y_train is object"),
        (arrays(y_train=np.arange(40) % 2 - 1), "labels go from -1 to 0"),
        (arrays(y_train=np.zeros(40, int)), "labels go from 0 to 0"),
        (arrays(y_train=np.arange(40) % 2 * 2**62), "labels go from 0 to 4611686018427387904"),
        (
            arrays(y_train=np.arange(40, dtype=np.uint64) % 2 * (2**64 - 1)),
            "labels go from 0 to 18446744073709551615",
        ),
        (arrays(y_train=np.arange(40) % 2 * 2), "no image of class 1 in train"),
        (arrays(x_val=images(4)), "has the arrays x_train, y_train, x_val; expected x_train and y_train"),
        (arrays(x_test=images(4)), "expected x_train and y_train"),
        ({"y_train": np.arange(4)}, "expected x_train and y_train"),
        (
            arrays(x_test=images(4, shape=(7, 5, 3)), y_test=np.arange(4) % 2),
            "x_test has uint8 examples of shape [7, 5, 3]",
        ),
    ],
)  # fmt: skip
def test_wrong_arrays_are_refused_in_a_sentence(
    tmp_path: Path, named: dict[str, Any], sentence: str
) -> None:
    path = npz(tmp_path, **named)
    with pytest.raises(ValueError, match=r"\.$") as caught:
        read(path, quiet)
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_array_with_a_huge_declared_shape_is_refused_by_its_header(tmp_path: Path) -> None:
    head = io.BytesIO()
    promised = {"descr": "|u1", "fortran_order": False, "shape": (10**6, 256, 256, 3)}
    np.lib.format.write_array_header_1_0(head, promised)
    labels = io.BytesIO()
    np.lib.format.write_array_header_1_0(labels, promised | {"shape": (10**6,)})
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("x_train.npy", head.getvalue())
        archive.writestr("y_train.npy", labels.getvalue())
    with pytest.raises(ValueError, match="196,608,000,000 bytes of pixels; expected at most"):
        read(tmp_path / "bomb.npz", quiet)


def test_an_array_with_a_header_of_version_2_is_refused_unread(tmp_path: Path) -> None:
    size = 100_000_000
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_train.npy", b"\x93NUMPY\2\0" + size.to_bytes(4, "little") + bytes(size))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"has a header of another version than 1\.0"):
            read(tmp_path / "bomb.npz", quiet)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size / 10


HEADERS = [
    b"{'descr': (", b"\'\'\'", b"{'descr': '<,u1', 'fortran_order': False, 'shape': (3,)}", b"  1\n 2\n",
    b"{1: 2, 'a': 3}", b"{[]: 1}", b"-" * 9000 + b"1", b"\xff", b"",
]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_a_header_that_describes_no_array_is_refused_in_a_sentence(
    tmp_path: Path, header: bytes
) -> None:
    with zipfile.ZipFile(tmp_path / "bugs.npz", "w") as archive:
        for name in ("x_train.npy", "y_train.npy"):
            size = len(header).to_bytes(2, "little")
            archive.writestr(name, b"\x93NUMPY\1\0" + size + header)
    with pytest.raises(ValueError, match=r"bugs\.npz: not a whole \.npz file .*savez\.$"):
        read(tmp_path / "bugs.npz", quiet)


@pytest.mark.parametrize("packing", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_damage_is_found_in_lzma_and_bzip2_archives(packing: int, tmp_path: Path) -> None:
    np.savez(tmp_path / "plain.npz", **arrays())
    with (
        zipfile.ZipFile(tmp_path / "plain.npz") as plain,
        zipfile.ZipFile(tmp_path / "packed.npz", "w", packing) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    content = bytearray((tmp_path / "packed.npz").read_bytes())
    content[60:64] = bytes(4)
    (tmp_path / "packed.npz").write_bytes(content)
    with pytest.raises(ValueError, match="not a whole"):
        read(tmp_path / "packed.npz", quiet)


@pytest.mark.parametrize("cut", [10, 200, -30])
def test_a_truncated_archive_is_refused_in_a_sentence(tmp_path: Path, cut: int) -> None:
    path = npz(tmp_path, **arrays())
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="not a whole"):
        read(path, quiet)


@pytest.mark.parametrize(("name", "said"), [("nowhere", "is not there"), ("a.zip", "is neither")])
def test_a_path_that_is_neither_a_folder_nor_an_npz_is_refused(name: str, said: str) -> None:
    Path("a.zip").write_bytes(b"x")
    with pytest.raises(ValueError, match=f"{name} {said}; expected a folder of images by class"):
        read(Path(name), quiet)
