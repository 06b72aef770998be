"""A process with limits reads an HDF5 file once and writes a copy, which is complete or absent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from compress.model_files import h5_copy

MOST = 2**24


def written(change: Callable[[h5py.File], Any]) -> Path:
    with h5py.File("given.h5", "w") as file:
        change(file)
    return Path("given.h5")


def copied(change: Callable[[h5py.File], Any], most: int = MOST) -> Path:
    h5_copy.copy(written(change), Path("clean.h5"), most)
    return Path("clean.h5")


def refused(path: Path, most: int = MOST) -> str:
    with pytest.raises(ValueError, match=r"\w") as caught:
        h5_copy.copy(path, Path("clean.h5"), most)
    return str(caught.value)


def test_arrays_texts_and_groups_are_copied_unchanged() -> None:
    def fill(file: h5py.File) -> None:
        file["a/b/c"] = np.arange(6, dtype=">i2").reshape(2, 3)
        file["a/scalar"] = np.float32(2)
        file.create_dataset("packed", data=np.eye(9, dtype="f4"), chunks=(3, 3), compression="gzip")
        file.attrs["text"], file.attrs["bytes"] = "ä" * 70_000, b"x"
        file["a"].attrs["names"] = [b"one", b"three"]
        file["a"].attrs["padded"] = np.array([b"one", b"three"])
        file["a"].attrs["none"] = []

    with h5py.File(copied(fill)) as file:
        np.testing.assert_array_equal(file["a/b/c"], np.arange(6).reshape(2, 3))
        assert file["a/scalar"][()] == 2
        np.testing.assert_array_equal(file["packed"], np.eye(9))
        assert file["packed"].compression is None
        assert file.attrs["text"] == "ä" * 70_000
        with h5py.File("given.h5") as given:
            assert file.attrs["bytes"] == given.attrs["bytes"]
            assert list(file["a"].attrs["names"]) == list(given["a"].attrs["names"])
        assert file["a"].attrs["padded"].tolist() == [b"one", b"three"]
        assert list(file["a"].attrs["none"]) == []


def test_numbers_of_a_shared_array_are_counted_once() -> None:
    def fill(file: h5py.File) -> None:
        file["a"], file["b/c"] = np.zeros((2, 3)), np.zeros(4, "i1")
        file["b/again"] = file["a"]

    assert h5_copy.copy(written(fill), Path("clean.h5"), MOST) == 10


def test_groups_that_contain_each_other_are_copied() -> None:
    def fill(file: h5py.File) -> None:
        file["a/b/number"] = 3
        file["a/b/top"], file["a/b/above"] = file["/"], file["a"]

    with h5py.File(copied(fill)) as file:
        assert file["a/b/top/a/b/above/b/number"][()] == 3


def test_named_types_and_reference_attributes_are_not_copied() -> None:
    def fill(file: h5py.File) -> None:
        file["kind"], file["a"] = np.dtype("i4"), 1
        file.attrs["link"] = file["a"].ref

    with h5py.File(copied(fill)) as file:
        assert list(file) == ["a"]
        assert list(file.attrs) == []


def nest(depth: int) -> Callable[[h5py.File], Any]:
    def fill(file: h5py.File) -> None:
        group = file
        for _ in range(depth):
            group = group.create_group("a")

    return fill


def test_groups_nested_deeper_than_64_are_refused() -> None:
    copied(nest(h5_copy.MAX_DEPTH))
    assert "nested deeper than 64" in refused(written(nest(h5_copy.MAX_DEPTH + 1)))


def test_copying_stops_at_the_first_group_that_is_nested_too_deep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, looked_at = written(nest(1000)), []
    items = h5_copy._items

    def counted(group: Any, where: str) -> Any:
        looked_at.append(where)
        return items(group, where)

    monkeypatch.setattr(h5_copy, "_items", counted)
    with pytest.raises(h5_copy._Refused):
        h5_copy._copy(path, Path("clean.h5"), MOST)
    assert len(looked_at) == h5_copy.MAX_DEPTH + 1


def test_arrays_larger_than_the_limit_are_refused_unread() -> None:
    def fill(file: h5py.File) -> None:
        file.create_dataset("a", (1000, 1000), "f4", chunks=(100, 100))

    assert "unpack to over 3,999,999 bytes; give a smaller model" in refused(
        written(fill), 3_999_999
    )
    h5_copy.copy(Path("given.h5"), Path("clean.h5"), 4_000_000)


def with_text_of(size: int) -> Path:
    """A file whose declared length of a text differs from the length in the heap."""
    path = written(lambda file: file.attrs.__setitem__("text", "x" * 9000))
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL").to_bytes(8, "little")
    begin = content.index((9000).to_bytes(4, "little") + heap)
    content[begin : begin + 4] = size.to_bytes(4, "little")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("size", [8999, 2**20, 2**32 - 1])
def test_a_text_with_a_false_declared_length_is_damage(size: int) -> None:
    said = refused(with_text_of(size))
    assert said.startswith("its HDF5 is damaged, or takes more memory or time")
    assert said.endswith("copy it again, or save the model again")


def test_reading_a_text_that_declares_gigabytes_takes_little_memory() -> None:
    with_text_of(2**32 - 1)
    # In a separate process, because the peak memory of children is reported for all children together.
    code = (
        "import resource\nfrom pathlib import Path\nfrom compress.model_files import h5_copy\n"
        f"try: h5_copy.copy(Path('given.h5'), Path('clean.h5'), {MOST})\n"
        "except ValueError: print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    unit = 1 if sys.platform == "darwin" else 1024
    assert 0 < int(done.stdout) * unit < h5_copy._MEMORY_BYTES + 2 * MOST


def test_a_file_that_another_process_writes_to_is_refused() -> None:
    with h5py.File("given.h5", "w") as file:
        file["a"] = 1
        file.flush()
        assert "another process is writing to it" in refused(Path("given.h5"))


def test_a_file_that_is_not_hdf5_is_damage() -> None:
    Path("given.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(1000))
    assert "its HDF5 is damaged" in refused(Path("given.h5"))
