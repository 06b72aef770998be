"""Only regular files and folders are read, because a device or a pipe may have no end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from baselines.cifar10.formats import open_copy
from baselines.cifar10.spec import Counts
from compress.data import npz
from compress.data.image_file import check_png, read_images
from compress.files import sha256
from compress.input_file import FilePath, regular
from compress.pipelines import toml_file
from compress.rows.jsonl import read_from
from compress.runs.digest_index import DigestIndex

READERS: list[Callable[[Path], Any]] = [
    read_from,
    sha256,
    npz.headers,
    lambda path: toml_file.read(path, 0, None),
    lambda path: open_copy(path, Counts(200, 50)),
    lambda path: read_images([path]),
    lambda path: check_png(path, (32, 32)),
]


@pytest.mark.parametrize("read", READERS, ids=range(len(READERS)))
def test_a_reader_refuses_a_device(read: Callable[[Path], Any]) -> None:
    Path("x.npz").symlink_to("/dev/null")  # a device that ends at once if a reader does read it
    with pytest.raises(
        ValueError, match=r"^x\.npz is a device or a pipe; expected a file or a folder\.$"
    ):
        read(Path("x.npz"))


def test_regular_refuses_a_pipe() -> None:
    os.mkfifo("pipe")
    with pytest.raises(ValueError, match=r"^pipe is a device or a pipe"):
        regular(Path("pipe"))


def test_regular_accepts_files_folders_links_and_missing_paths() -> None:
    Path("file").touch()
    Path("folder").mkdir()
    for name in ("file", "folder"):
        Path(f"link-to-{name}").symlink_to(name)
    for name in ("file", "folder", "link-to-file", "link-to-folder", "nowhere"):
        assert regular(Path(name)) == Path(name)


@pytest.mark.parametrize("kind", [FilePath(path_type=Path), FilePath(exists=True, dir_okay=False)])
def test_an_option_for_a_file_refuses_a_device(kind: FilePath) -> None:
    with pytest.raises(click.BadParameter, match="/dev/zero is a device or a pipe"):
        kind.convert("/dev/zero", None, None)


def test_the_digest_index_is_not_read_from_a_pipe() -> None:
    os.mkfifo(".index.json")
    assert DigestIndex(Path()).data("key") is None
