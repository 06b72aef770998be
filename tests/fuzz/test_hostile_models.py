"""Every hostile model file ends in a loaded model or in a sentence, within bounds of memory, and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.hostile_models import ARCHITECTURES, ARRAYS, FILES, written
from fuzz.opened import Opening, opened
from support.architectures import h5_file, keras_file

# What is odd and does no harm.
HARMLESS = {"many members", "groups of each other", "texts beside arrays"}


def open_all(folder: Path, paths: list[Path]) -> list[Opening]:
    """Open files in one process, and hold that each came to a good end and that nothing was written anywhere."""
    there = sorted(folder.rglob("*"))
    contents = {path: path.read_bytes() for path in paths}
    assert max(map(len, contents.values())) < 2**20
    openings = opened("model", paths[0], paths)
    for opening in openings:
        opening.check()
    assert sorted(folder.rglob("*")) == there
    assert all(path.read_bytes() == content for path, content in contents.items())
    return openings


def attacks(folder: Path, *suffixes: str) -> list[Path]:
    """Attacks by architecture and by arrays, in both kinds of file."""
    return [
        written(folder / f"{name}{suffix}")
        for name in (*ARCHITECTURES, *ARRAYS)
        for suffix in suffixes
    ]


def test_attacks_come_to_a_good_end(tmp_path: Path) -> None:
    good = [keras_file(tmp_path / "good.keras"), h5_file(tmp_path / "good.h5")]
    files = [write(tmp_path / name) for name, write in FILES.items()]
    openings = open_all(tmp_path, [*good, *files, *attacks(tmp_path, ".keras")])
    assert {o.path.stem for o in openings if not o.said} == {"good", *HARMLESS}


@pytest.mark.slow
def test_the_same_attacks_in_hdf5_files_come_to_a_good_end(tmp_path: Path) -> None:
    good = h5_file(tmp_path / "good.h5")
    openings = open_all(tmp_path, [good, *attacks(tmp_path, ".h5")])
    assert {o.path.stem for o in openings if not o.said} <= {"good", *HARMLESS}
