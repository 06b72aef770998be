"""The latency benchmark: what it writes, and what it says of files that cannot be timed. No timing is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from compress.keras_models.model import KerasModel

SCRIPT = Path(__file__).parents[1] / "reports" / "benchmarks" / "latency.py"


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_times_both_files_in_every_round(tmp_path: Path, toy_model: KerasModel) -> None:
    path, out = tmp_path / "toy.tflite", tmp_path / "latency.json"
    toy_model.to_tflite().save(path)
    done = run(path, path, "--rounds", 3, "--images", 2, "--out", out)
    assert done.returncode == 0, done.stderr
    written = json.loads(out.read_text())
    assert [len(row) for row in written["milliseconds"]] == [2, 2, 2]
    assert min(map(min, written["milliseconds"])) >= 0
    low, high = written["speedup_quartiles"]
    assert low <= written["speedup"] <= high
    assert [file["file"] for file in written["files"]] == ["toy.tflite"] * 2
    assert {"machine", "versions", "commit"} <= set(written)


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_a_file_that_is_no_model_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.tflite"
    path.write_bytes(content)
    done = run(path, path)
    assert done.returncode == 1
    assert "odd.tflite" in done.stderr
    assert "Traceback" not in done.stderr
