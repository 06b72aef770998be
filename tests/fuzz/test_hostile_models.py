"""Every hostile model file is loaded or refused in a sentence, within bounds of memory, and changes no file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from fuzz.hostile_models import ARCHITECTURES, ARRAYS, FILES, written
from fuzz.mutations import worse_archive, worse_bytes, worse_json
from fuzz.opened import open_all, rounds
from support.architectures import good, h5_file, keras_file, without_modules

# Odd files that load and do no harm.
HARMLESS = {"many members", "groups of each other", "texts beside arrays"}


def attacks(folder: Path, *suffixes: str) -> list[Path]:
    """Attacks by architecture and by arrays, in both kinds of file."""
    return [
        written(folder / f"{name}{suffix}")
        for name in (*ARCHITECTURES, *ARRAYS)
        for suffix in suffixes
    ]


def test_hostile_models_are_refused_in_a_sentence_unless_harmless(tmp_path: Path) -> None:
    whole = [keras_file(tmp_path / "good.keras"), h5_file(tmp_path / "good.h5")]
    files = [write(tmp_path / name) for name, write in FILES.items()]
    openings = open_all(tmp_path, "model", [*whole, *files, *attacks(tmp_path, ".keras")])
    assert {o.path.stem for o in openings if not o.said} == {"good", *HARMLESS}


@pytest.mark.slow
def test_hostile_hdf5_models_are_refused_in_a_sentence_unless_harmless(tmp_path: Path) -> None:
    openings = open_all(
        tmp_path, "model", [h5_file(tmp_path / "good.h5"), *attacks(tmp_path, ".h5")]
    )
    assert {o.path.stem for o in openings if not o.said} <= {"good", *HARMLESS}


def random_files(folder: Path, count: int) -> Iterator[Path]:
    """Files with changed bytes, and files with a changed architecture; `count` of each of four kinds."""
    archive = keras_file(folder / "good.keras").read_bytes()
    hdf5 = h5_file(folder / "good.h5").read_bytes()
    for number in range(count):
        worse = worse_json(good(), Random(f"json {number}")) or good()
        yield keras_file(folder / f"json {number}.keras", worse)
        plain = worse_json(without_modules(good()), Random(f"plain {number}")) or good()
        yield h5_file(folder / f"json {number}.h5", plain)
        for content, suffix, change in (
            (archive, ".keras", worse_archive),
            (hdf5, ".h5", worse_bytes),
        ):
            path = folder / f"bytes {number}{suffix}"
            path.write_bytes(change(content, Random(f"bytes {number}")))
            yield path


def test_randomly_damaged_models_load_or_are_refused_in_a_sentence(tmp_path: Path) -> None:
    made = list(random_files(tmp_path, rounds(3)))
    openings = open_all(tmp_path, "model", [tmp_path / "good.keras", *made])
    assert sum(bool(o.said) for o in openings) > len(made) / 3
