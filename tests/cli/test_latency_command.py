"""`compress latency`: what it shows and writes. No timing is judged."""

from __future__ import annotations

import json
import resource
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from compress.cli.main import cli
from compress.measurement import latency
from compress.measurement.latency import limit_seconds, ratio
from compress.rows.latency import read_latencies
from support.tflite_examples import export, int8, three_layers_model

QUICK = ["--rounds", "3", "--inputs", "2"]


@pytest.fixture(scope="module")
def contents() -> list[bytes]:
    seen = np.random.default_rng(0).random((8, 6, 6, 2), np.float32)
    return [export(three_layers_model()), export(three_layers_model(), int8(seen))]


@pytest.fixture
def files(contents: list[bytes], tmp_path: Path) -> list[str]:
    paths = [tmp_path / name for name in ("float.tflite", "int8.tflite")]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return [str(path) for path in paths]


def test_two_files_run_in_every_round_and_a_row_is_kept(files: list[str], tmp_path: Path) -> None:
    results = tmp_path / "latency.jsonl"
    words = [
        "latency",
        files[1],
        "--against",
        files[0],
        *QUICK,
        "--results",
        str(results),
        "--json",
    ]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert json.loads(results.read_text()) == record
    assert record["kind"] == "latency"
    assert [file["file"] for file in record["files"]] == ["float.tflite", "int8.tflite"]
    assert np.array(record["milliseconds"]).shape == (3, 2)
    assert record["ratio_low"] <= record["ratio"] <= record["ratio_high"]
    assert {"machine", "versions", "commit", "instruction_sets", "engine"} <= set(record)


def test_the_ratio_is_that_of_the_file_to_the_reference_file() -> None:
    times = np.array([[2.0, 1.0], [4.0, 2.0], [3.0, 1.5]])
    assert ratio(times).median == 0.5


def test_the_interval_of_the_ratio_is_narrow_around_the_median() -> None:
    times = np.stack([np.ones(200), np.random.default_rng(0).normal(0.6, 0.05, 200)], axis=1)
    found = ratio(times)
    assert 0.55 < found.low < found.median < found.high < 0.65


def test_one_file_has_a_time_and_no_ratio(files: list[str]) -> None:
    done = CliRunner().invoke(cli, ["latency", files[0], *QUICK])
    assert done.exit_code == 0
    assert "ms for one input" in done.stdout
    assert "ratio" not in done.stdout


def test_a_file_of_result_rows_is_refused_before_any_timing_and_left_as_it_was(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compress.cli.latency_command.milliseconds", None)  # a call would fail
    rows = tmp_path / "results.jsonl"
    rows.write_text(json.dumps({"schema": 2, "task": "toy"}) + "\n")
    before = rows.read_bytes()
    done = CliRunner().invoke(cli, ["latency", files[0], *QUICK, "--results", str(rows)])
    assert done.exit_code == 1
    assert (
        f"{rows} has a line that is not a row of `compress latency`: name another file for latencies, "
        "such as reports/latency.jsonl."
    ) in done.stderr
    assert rows.read_bytes() == before


def test_rows_are_appended_to_a_file_of_latencies(files: list[str], tmp_path: Path) -> None:
    results = tmp_path / "latency.jsonl"
    for _ in range(2):
        done = CliRunner().invoke(cli, ["latency", files[0], *QUICK, "--results", str(results)])
        assert done.exit_code == 0, done.output
    assert len(read_latencies(results)) == 2


def test_the_limit_of_processor_time_grows_with_the_number_of_inputs_and_is_named(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = limit_seconds(files=1, rounds=30, inputs=200)
    assert limit >= 5 * 30 * 200  # seconds; some networks take 5 seconds for one input
    assert limit_seconds(files=2, rounds=300, inputs=200) > 10 * limit
    killed = tmp_path / "python"
    killed.write_text("#!/bin/sh\nkill -s XCPU $$\n")
    killed.chmod(killed.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(killed))
    done = CliRunner().invoke(cli, ["latency", files[0]])
    assert done.exit_code == 1
    assert f"more than {limit:,} seconds of processor time" in done.stderr
    assert "Export the file again" not in done.stderr


def test_the_process_that_times_files_has_that_limit(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {}
    monkeypatch.setattr(latency.resource, "setrlimit", limits.__setitem__)
    (tmp_path / "0.tflite").write_bytes(Path(files[0]).read_bytes())
    latency._main(tmp_path, count=1, rounds=2, inputs=3)
    assert limits[resource.RLIMIT_CPU][0] == limit_seconds(files=1, rounds=2, inputs=3)


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_a_file_that_is_no_model_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.tflite"
    path.write_bytes(content)
    done = CliRunner().invoke(cli, ["latency", str(path)])
    assert done.exit_code == 1
    assert "odd.tflite" in done.stderr
