"""Small copies of CIFAR-10 in every storage format, and the errors about them, for tests."""

import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from baselines.cifar10.find import load
from baselines.cifar10.spec import CLASSES, Arrays, Counts

COUNTS = Counts(train=200, test=50)


def arrays(count: int, seed: int) -> Arrays:
    """Random images uint8 [count, 32, 32, 3] and labels uint8 [count]: equally many per class, in random order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 10).astype(np.uint8)
    return rng.integers(0, 256, (count, 32, 32, 3), np.uint8), labels


TRAIN = arrays(COUNTS.train, seed=1)
TEST = arrays(COUNTS.test, seed=2)


def planes(images: np.ndarray) -> np.ndarray:
    """Rows as the official batches have them: uint8 [n, 32, 32, 3] -> [n, 3072], red plane first."""
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1)


def batches(train: Arrays = TRAIN, test: Arrays = TEST) -> dict[str, Arrays]:
    """Five training batches and one test batch by name."""
    images, labels = (np.array_split(column, 5) for column in train)
    named = {f"data_batch_{i + 1}": (images[i], labels[i]) for i in range(5)}
    return {**named, "test_batch": test}


def write_binary(folder: Path, train: Arrays = TRAIN, test: Arrays = TEST) -> Path:
    """Official binary batches."""
    folder.mkdir(parents=True)
    for name, (images, labels) in batches(train, test).items():
        rows = np.concatenate([labels[:, None], planes(images)], axis=1)
        (folder / f"{name}.bin").write_bytes(rows.tobytes())
    return folder


def write_python(folder: Path, protocol: int | None = None) -> Path:
    """Python batches, pickled as Python 2 pickled the official ones, or by this Python with a protocol."""
    folder.mkdir(parents=True)
    for name, (images, labels) in batches().items():
        content = (
            python2_pickle(planes(images), labels)
            if protocol is None
            else pickle.dumps(python3_batch(planes(images), labels), protocol)
        )
        (folder / name).write_bytes(content)
    return folder


def python3_batch(rows: np.ndarray, labels: np.ndarray) -> dict[bytes, object]:
    """The dict that `pickle.load(file, encoding="bytes")` returns for an official batch."""
    return {
        b"data": rows,
        b"labels": labels.tolist(),
        b"filenames": [b"%d.png" % i for i in labels],
    }


def python2_pickle(rows: np.ndarray, labels: np.ndarray, kind: bytes = b"u1") -> bytes:
    """The bytes that Python 2's cPickle wrote for a batch, protocol 2, opcode by opcode."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    def integer(value: int) -> bytes:
        return b"M" + value.to_bytes(2, "little")

    fortran = rows.flags.f_contiguous and not rows.flags.c_contiguous
    raw = rows.tobytes(order="A")
    return b"".join(
        [
            b"\x80\x02}(",
            text(b"batch_label") + text(b"training batch 1 of 5"),
            text(b"labels") + b"](" + b"".join(b"K" + bytes([n]) for n in labels) + b"e",
            text(b"data"),
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
            + text(b"b")
            + b"\x87R",
            b"(K\x01" + integer(rows.shape[0]) + integer(rows.shape[1]) + b"\x86",
            b"cnumpy\ndtype\n" + text(kind) + b"K\x00K\x01\x87R(K\x03" + text(b"|"),
            b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
            b"\x88" if fortran else b"\x89",
            b"T" + len(raw).to_bytes(4, "little") + raw + b"tb",
            text(b"filenames") + b"](" + b"".join(text(b"%d.png" % n) for n in labels) + b"e",
            b"u.",
        ]
    )


def write_archive(path: Path, folder: Path) -> Path:
    """`folder` as a `.tar.gz` that unpacks to a folder of the same name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        tar.add(folder, folder.name)
    return path


def write_pngs(folder: Path) -> Path:
    """Class folders with one PNG for each image."""
    for part, (images, labels) in (("train", TRAIN), ("test", TEST)):
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = folder / part / CLASSES[label] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    return folder


def write_npz(path: Path, **instead: object) -> Path:
    """Keras's arrays in one file, labels [n, 1]; `instead` replaces an array, or leaves it out if None."""
    named: dict[str, object] = {"x_train": TRAIN[0], "y_train": TRAIN[1][:, None]}
    named |= {"x_test": TEST[0], "y_test": TEST[1][:, None]} | instead
    np.savez_compressed(path, **{k: v for k, v in named.items() if v is not None})  # type: ignore[arg-type]
    return path


def complaint(path: Path, test: bool = False) -> str:
    """The error for the copy at `path` when its training images or, if `test`, its test images are read."""
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
