"""A checkpoint is used only by the training that wrote it; an unreadable checkpoint is reported."""

from __future__ import annotations

import dataclasses
import errno
import io
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.training.checkpoint import (
    LOG,
    accuracies_logged,
    epochs_logged,
    seconds_logged,
)
from compress.training.fit import fit
from support import tiny_training
from support.tiny_training import (
    RECIPES,
    SEED,
    Tiny,
    Trained,
    Watcher,
    epochs_found,
    same,
    train,
    view,
)

SGD = RECIPES["sgd"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trained]:
    """The folder and the weights of a training that ended."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, train(folder)


@pytest.fixture
def folder(finished: tuple[Path, Trained], tmp_path: Path) -> Path:
    """A copy of that folder."""
    return shutil.copytree(finished[0], tmp_path / "checkpoint")


def test_the_training_that_wrote_a_checkpoint_finds_it(folder: Path) -> None:
    assert epochs_found(folder) == SGD.epochs


@pytest.mark.parametrize(
    "change", [{"epochs": 6}, {"learning_rate": 0.1}, {"flip": False}, {"weight_average": 0.8}]
)
def test_a_checkpoint_of_another_recipe_is_not_used(change: dict[str, Any], folder: Path) -> None:
    assert epochs_found(folder, dataclasses.replace(SGD, **change)) == 0


def test_a_checkpoint_of_another_seed_is_not_used(folder: Path) -> None:
    recipe = dataclasses.replace(SGD, epochs=1)
    train(folder, recipe, SEED)
    assert epochs_found(folder, recipe, SEED) == 1
    assert same(train(folder, recipe, SEED + 1), train(None, recipe, SEED + 1))


def test_a_checkpoint_of_other_images_is_not_used(folder: Path) -> None:
    task = view(folder, progress := Watcher())
    fewer = tiny_training.Split(task.train.images[:16], task.train.labels[:16])
    fit(Tiny().build(), SGD, dataclasses.replace(task, train=fewer), seed=SEED)
    assert progress.begun[-1] == 0


# A checkpoint that cannot be read


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


def without_an_array(content: bytes) -> bytes:
    return without(content, "live3")


def without_the_last_array(content: bytes) -> bytes:
    return without(content, "best0")


def without_meta(content: bytes) -> bytes:
    return without(content, "meta")


def without(content: bytes, name: str) -> bytes:
    with np.load(io.BytesIO(content)) as file:
        kept = {key: file[key] for key in file.files if key != name}
    held = io.BytesIO()
    np.savez(held, **kept)
    return held.getvalue()


def with_an_array_of_another_shape(content: bytes) -> bytes:
    with np.load(io.BytesIO(content)) as file:
        kept = {key: file[key] for key in file.files}
    held = io.BytesIO()
    np.savez(held, **{**kept, "live3": kept["live3"].ravel()[:1]})
    return held.getvalue()


def empty(content: bytes) -> bytes:
    return b""


def text(content: bytes) -> bytes:
    return b"text, not arrays"


def one_array(content: bytes) -> bytes:
    held = io.BytesIO()
    np.save(held, np.arange(3))
    return held.getvalue()


def other_meta(content: bytes) -> bytes:
    held = io.BytesIO()
    np.savez(held, meta=np.array("[1, 2]"))
    return held.getvalue()


def unclosed(content: bytes) -> bytes:
    """An archive with an array whose header is cut off."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("meta.npy", b"\x93NUMPY\1\0\1\0{")
    return held.getvalue()


DAMAGES = [
    truncated, flipped, without_an_array, without_the_last_array, without_meta, empty, text,
    with_an_array_of_another_shape, one_array, other_meta, unclosed,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_reported_and_not_used(
    damage: Callable[[bytes], bytes], folder: Path
) -> None:
    path = folder / "checkpoint.npz"
    path.write_bytes(damage(path.read_bytes()))
    progress = Watcher()
    trained = train(folder, dataclasses.replace(SGD, epochs=0), progress=progress)
    assert (trained.history, progress.notes) == ([], [])  # no epochs, nothing read

    class Stopping(Watcher):
        def begin(self, *words: Any) -> None:
            raise tiny_training.Began(words[-1])

    stopping = Stopping()
    with pytest.raises(tiny_training.Began, match=r"^0$"):
        train(folder, progress=stopping)
    assert len(stopping.notes) == 1
    assert stopping.notes[0].startswith(f"{path} is damaged (")
    assert stopping.notes[0].endswith("): training begins from the start.")


def test_training_after_a_damaged_checkpoint_equals_training_without_one(
    folder: Path, finished: tuple[Path, Trained]
) -> None:
    path = folder / "checkpoint.npz"
    path.write_bytes(without_the_last_array(path.read_bytes()))
    assert same(train(folder), finished[1])
    assert epochs_found(folder) == SGD.epochs  # a whole checkpoint has replaced it


def test_a_checkpoint_is_read_without_unpickling(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "canary",))

    np.savez(tmp_path / "checkpoint.npz", meta=np.array([Evil()]))
    assert epochs_found(tmp_path) == 0
    assert not (tmp_path / "canary").exists()
    with np.load(tmp_path / "checkpoint.npz", allow_pickle=True) as file:
        _ = file["meta"]
    assert (tmp_path / "canary").exists()  # unpickling would have run it


# An incomplete log

HEAD = "epoch,validation_accuracy,seconds\n"


@pytest.mark.parametrize(
    ("content", "seconds", "accuracies"),
    [
        (f"{HEAD}1,0.5,60\n2,0.75,30.5\n", 90.5, [0.5, 0.75]),
        (f"{HEAD}1,0.5,60\n2,0.75,30", 60, [0.5]),
        (f"{HEAD}1,0.5,60\n2,0.7", 60, [0.5]),
        (f"{HEAD}1,0.5,60\n2,0.75,\n", 60, [0.5]),
        (f"{HEAD}1,0.5,60\n2,0.75\n3,0.8,30\n", 60, [0.5]),
        (f"{HEAD}1,0.5,60\n2,0.75,30,9\n", 60, [0.5]),
        (f"{HEAD}1,0.5,60\n\xff\0,0.75,30\n", 60, [0.5]),
        (HEAD, 0, None),
        (HEAD[:-1], 0, None),
        ("", 0, None),
        ("\n", 0, None),
    ],
)
def test_only_whole_rows_of_a_log_are_counted(
    content: str, seconds: float, accuracies: list[float] | None, tmp_path: Path
) -> None:
    (tmp_path / LOG).write_bytes(content.encode("latin-1"))
    assert seconds_logged(tmp_path) == seconds
    assert accuracies_logged(tmp_path / LOG) == accuracies
    assert epochs_logged(tmp_path) == len(accuracies or [])


def test_a_truncated_log_is_restored_from_the_checkpoint(folder: Path) -> None:
    log = folder / LOG
    whole = log.read_bytes()
    log.write_bytes(whole[:-10])
    assert epochs_found(folder) == SGD.epochs
    assert log.read_bytes() == whole


# A disk that is full


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def half_written(file: Any, **_: Any) -> None:
    file.write(b"PK")
    full()


@pytest.mark.parametrize(
    ("owner", "name", "fails"),
    [(os, "replace", full), (os, "fsync", full), (np, "savez", half_written)],
)
def test_a_full_disk_leaves_only_the_last_whole_checkpoint_and_the_log(
    owner: Any, name: str, fails: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Filling(Watcher):
        def epoch(self, row: dict[str, float]) -> None:
            if row["epoch"] == 2:
                monkeypatch.setattr(owner, name, fails)

    with pytest.raises(OSError, match="No space left"):
        train(tmp_path, progress=Filling())
    monkeypatch.undo()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.npz", "log.csv"]
    assert epochs_found(tmp_path) == 2


def test_training_resumes_to_the_same_weights_after_the_disk_was_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: tuple[Path, Trained]
) -> None:
    class Filling(Watcher):
        def epoch(self, row: dict[str, float]) -> None:
            if row["epoch"] == 3:
                monkeypatch.setattr(os, "replace", full)

    with pytest.raises(OSError, match="No space left"):
        train(tmp_path, progress=Filling())
    monkeypatch.undo()
    assert same(train(tmp_path), finished[1])
