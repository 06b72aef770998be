"""The digest index is kept, found again, and not trusted if it is damaged or a file has changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from compress.data.dataset import DataDigests
from compress.runs import digest_index
from compress.runs.digest_index import DigestIndex, KnownData, KnownModel, files_key

DATA = KnownData(DataDigests("data", "a", "b"), ("said once",), 640)
MODEL = KnownModel("d" * 64, 1 / 255, ())


def test_entries_are_found_by_a_new_index_object(tmp_path: Path) -> None:
    DigestIndex(tmp_path).put("x", DATA)
    DigestIndex(tmp_path).put("y", MODEL)
    assert DigestIndex(tmp_path).data("x") == DATA
    assert DigestIndex(tmp_path).model("y") == MODEL
    assert DigestIndex(tmp_path).data("z") is None


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"x": 1}', '{"x": {"digests": {}}}', "[" * 100_000]
)
def test_a_damaged_index_is_empty_and_can_be_written_again(content: str, tmp_path: Path) -> None:
    (tmp_path / digest_index.NAME).write_text(content)
    index = DigestIndex(tmp_path)
    assert index.data("x") is None
    assert index.model("x") is None
    index.put("x", DATA)
    assert index.data("x") == DATA


def test_an_index_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    DigestIndex(elsewhere).put("x", DATA)
    before = (elsewhere / digest_index.NAME).read_bytes()
    (tmp_path / digest_index.NAME).symlink_to(elsewhere / digest_index.NAME)
    assert DigestIndex(tmp_path).data("x") is None
    DigestIndex(tmp_path).put("y", DATA)
    assert (elsewhere / digest_index.NAME).read_bytes() == before


def test_the_oldest_entries_are_dropped_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest_index, "MAX_ENTRIES", 2)
    for key in ("a", "b", "a", "c"):
        DigestIndex(tmp_path).put(key, DATA)
    assert [DigestIndex(tmp_path).data(k) is not None for k in "abc"] == [True, False, True]


def test_the_key_of_files_changes_with_every_change_of_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "a").mkdir(parents=True)
    one, two = folder / "a" / "one", folder / "two"
    one.write_bytes(b"1")
    keys = [files_key([folder])]
    assert files_key([folder]) == keys[0] != files_key([folder], "other words")

    def changed() -> None:
        keys.append(files_key([folder]))

    two.write_bytes(b"")
    changed()
    one.write_bytes(b"22")
    changed()
    # The same length and modification time as before: only the time of the last status change (ctime) differs.
    status = one.stat()
    one.write_bytes(b"33")
    os.utime(one, ns=(status.st_atime_ns, status.st_mtime_ns))
    changed()
    two.rename(folder / "three")
    changed()
    (folder / "three").unlink()
    changed()
    assert None not in keys
    assert len(set(keys)) == len(keys)


def test_a_missing_file_has_a_key_that_changes_when_the_file_appears(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    before = files_key([missing])
    assert before == files_key([missing])
    missing.write_bytes(b"")
    assert files_key([missing]) != before


def test_too_many_files_have_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest_index, "MAX_FILES", 3)
    for number in range(5):
        (tmp_path / str(number)).write_bytes(b"")
    assert files_key([tmp_path]) is None


def test_a_folder_without_access_counts_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = os.stat

    def denied(path: Any, *rest: Any, **more: Any) -> os.stat_result:
        if "denied" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *rest, **more)

    monkeypatch.setattr(os, "stat", denied)
    assert files_key([tmp_path / "denied"]) == files_key([tmp_path / "denied"])
