"""`compress slim` writes a smaller file to another place, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from compress.cli.main import cli
from fuzz.hostile_tflite import ATTACKS, file_of
from fuzz.mutations import worse_files
from support.tflite_examples import export, int8, three_layers_model

FILES = {"harmless": file_of, **ATTACKS}


@pytest.fixture(scope="module")
def content() -> bytes:
    images = np.random.default_rng(0).random((8, 6, 6, 2), np.float32)
    return export(three_layers_model(), int8(images))


@pytest.fixture
def file(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("model.tflite")
    path.write_bytes(content)
    return path


def slim(*words: str) -> Result:
    return CliRunner().invoke(cli, ["slim", *words])


def refusal(*words: str, code: int = 1) -> str:
    """The sentence of a command that fails and leaves all files as they were."""
    before = {path: path.read_bytes() for path in Path().iterdir()}
    done = slim(*words)
    assert done.exit_code == code, done.output
    assert done.stdout == ""
    assert {path: path.read_bytes() for path in Path().iterdir()} == before
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_the_smaller_file_is_written_beside_the_unchanged_input(file: Path, content: bytes) -> None:
    done = slim("model.tflite")
    assert done.exit_code == 0, done.output
    assert file.read_bytes() == content
    size = Path("model.slim.tflite").stat().st_size
    assert size < len(content)
    assert f"{size:,} bytes" in done.stdout
    assert slim("model.tflite").exit_code == 0  # the same again


def test_out_names_the_output_and_may_be_the_input(file: Path, content: bytes) -> None:
    done = slim("model.tflite", "--out", "model.tflite", "--json")
    record = json.loads(done.stdout)
    assert record["bytes_before"] == len(content)
    assert record["bytes_after"] == file.stat().st_size < len(content)
    assert sorted(path.name for path in Path().iterdir()) == ["model.tflite"]


def test_an_existing_other_file_in_the_default_place_is_not_overwritten(file: Path) -> None:
    Path("model.slim.tflite").write_bytes(b"mine")
    assert "model.slim.tflite already exists with other content" in refusal("model.tflite")


def test_a_file_of_another_kind_is_refused(file: Path) -> None:
    Path("model.keras").write_bytes(b"PK\x03\x04")
    said = refusal("model.keras")
    assert said.startswith("Error: model.keras")


@pytest.mark.parametrize("length", [9, 100, 2000])
def test_a_file_cut_off_is_refused(file: Path, content: bytes, length: int) -> None:
    file.write_bytes(content[:length])
    assert "not a readable TFLite file" in refusal("model.tflite")


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused_or_written_no_larger(file: Path, name: str) -> None:
    made = FILES[name]()
    file.write_bytes(made)
    done = slim("model.tflite")
    if done.exit_code == 0:
        assert Path("model.slim.tflite").stat().st_size <= len(made)
    else:
        assert "TFLite file" in refusal("model.tflite")
    assert file.read_bytes() == made


def test_damaged_files_are_refused_or_slimmed(file: Path, content: bytes) -> None:
    for worse in worse_files(content, 8, seed=0):
        file.write_bytes(worse[:4] + b"TFL3" + worse[8:])
        done = slim("model.tflite", "--out", "out.tflite")
        assert done.exit_code in (0, 1), done.output
        assert isinstance(done.exception, SystemExit | None)
