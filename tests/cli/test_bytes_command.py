"""`compress inspect --bytes`: the size ledger, as tables and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from compress.cli.main import cli
from fuzz.hostile_tflite import ATTACKS
from support.tflite_examples import export, three_layers_model


@pytest.fixture(scope="module")
def content() -> bytes:
    return export(three_layers_model())


@pytest.fixture
def file(content: bytes, tmp_path: Path) -> str:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    return str(path)


def test_parts_add_up_to_the_file_and_say_whether_they_are_stored_or_unpacked(
    file: str, content: bytes
) -> None:
    done = CliRunner().invoke(cli, ["inspect", file, "--bytes", "--json"])
    record = json.loads(done.stdout)
    stored = {r["part"]: r["bytes"] for r in record["parts"] if r["holds"] == "in flash as stored"}
    assert stored.pop("file") == len(content) == sum(stored.values())
    packed = [r["part"] for r in record["parts"] if r["holds"] == "after unpacking into RAM"]
    files = ["file, gzip -9", "file, zstd -22", "file, xz -9e"]
    assert packed == [*files, "weights and biases, entropy bound"]
    assert sum(t["bytes"] for t in record["tensors"]) == stored["weights"] + stored["biases"]
    assert record["weights"]["stored_bits"] == 32
    assert record["lowest_runtime"] == "1.5.0"
    assert record["xnnpack"] == "all"


def test_tables_show_the_same(file: str, content: bytes) -> None:
    shown = CliRunner().invoke(cli, ["inspect", file, "--bytes"]).stdout
    assert f"{len(content):,}" in shown
    assert "the runtime of TensorFlow 1.5.0 or later" in shown
    assert "XNNPACK takes all of the operators" in shown


def test_bytes_of_a_keras_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    three_layers_model().save(path)
    done = CliRunner().invoke(cli, ["inspect", str(path), "--bytes"])
    assert done.exit_code == 1
    assert "is not a .tflite file; --bytes needs one" in done.stderr


@pytest.mark.parametrize("name", ATTACKS)
def test_hostile_files_give_a_table_or_a_one_line_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(ATTACKS[name]())
    done = CliRunner().invoke(cli, ["inspect", str(path), "--bytes"])
    assert done.exit_code in (0, 1), done.output
    assert isinstance(done.exception, SystemExit | None)
    assert done.stderr.count("\n") == done.exit_code
