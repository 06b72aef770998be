"""`compress run --pipeline` in several processes, here and on Ray: the same words, the same rows."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from compress.cli.main import cli
from compress.rows.jsonl import read_from
from compress.workers.processes import available, started

PIPELINES = """
[[pipeline]]
run = "finetune --epochs 25 --learning-rate 0.01"
[[pipeline]]
run = "finetune --epochs 25 --learning-rate 0.01 quantize"
[[pipeline]]
run = "finetune --epochs 15 --learning-rate 0.02 quantize"
[[pipeline]]
name = "bad"
run = "prune-filters --arena 1 quantize"
"""
APART = ("time", "seconds", "peak_memory_bytes", "machine", "command")
linux = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="looks for workers in /proc"
)


def running(folder: Path, cores: int, *words: str) -> subprocess.Popen[bytes]:
    """Start the command on this number of processors."""
    folder.mkdir()
    (folder / "p.toml").write_text(PIPELINES)
    words = ("--task", "toy", "--deterministic", "--pipeline", str(folder / "p.toml"), *words)
    places = ("--out", str(folder / "runs"), "--results", str(folder / "rows.jsonl"))
    with (folder / "said").open("wb") as said:
        return started(
            [sys.executable, "-m", "compress", "run", *words, *places], available()[:cores], said
        )


def records(folder: Path) -> list[dict[str, Any]]:
    rows = [row.record() for row in read_from(folder / "rows.jsonl")]
    return [{name: value for name, value in row.items() if name not in APART} for row in rows]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The rows of one process with one thread: more threads add in another order."""
    folder = tmp_path_factory.mktemp("alone") / "one"
    assert running(folder, 1).wait() == 1  # one pipeline fails
    return records(folder)


def workers(folder: Path) -> Iterator[tuple[int, int]]:
    """The workers of a command in that folder, and their parents."""
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (each / "cmdline").read_bytes().split(b"\0")
            if b"--worker" in words and str(folder / "p.toml").encode() in words:
                parent = (each / "stat").read_text().rpartition(")")[2].split()[1]
                yield int(each.name), int(parent)


def kill_in_mid_training(folder: Path, driver: subprocess.Popen[bytes], parent: bool) -> None:
    """Kill the workers, or their parents, during a training."""
    while driver.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver.wait(timeout=0.05)
        if list(folder.glob("runs/finetune*/checkpoint/*")) and (found := list(workers(folder))):
            for each in found:
                os.kill(each[parent], signal.SIGKILL)
            return
    pytest.fail((folder / "said").read_text())


def assert_same(folder: Path, driver: subprocess.Popen[bytes], alone: list[dict[str, Any]]) -> None:
    said = (driver.wait(), (folder / "said").read_text())
    assert said[0] == 1, said[1]
    assert said[1].splitlines()[-1] == "Error: 1 of 4 pipelines failed: bad."
    assert records(folder) == alone


@pytest.mark.slow
@linux
def test_rows_are_the_same_when_a_job_is_killed_in_mid_training(
    tmp_path: Path, alone: list[dict[str, Any]]
) -> None:
    folder = tmp_path / "killed"
    driver = running(folder, 2, "--jobs", "2")
    kill_in_mid_training(folder, driver, parent=False)
    assert_same(folder, driver, alone)
    logs = "".join(log.read_text() for log in folder.glob("runs/jobs/*/worker-*.log"))
    assert "resuming after epoch" in logs


@pytest.mark.slow
@linux
def test_rows_are_the_same_when_a_task_of_ray_is_killed_in_mid_training(
    tmp_path: Path, alone: list[dict[str, Any]]
) -> None:
    pytest.importorskip("ray", reason="extra ray")
    folder = tmp_path / "killed"
    driver = running(folder, 2, "--jobs", "2", "--on", "ray")
    kill_in_mid_training(folder, driver, parent=True)
    assert_same(folder, driver, alone)


def run(*words: str) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["compress", "run", *words])
        return CliRunner().invoke(cli, ["run", *words])


def test_two_jobs_write_rows_in_order_and_report_each_pipeline() -> None:
    schemes = ("int8", "float16", "dynamic")
    runs = [f"quantize --scheme {scheme}" for scheme in schemes]
    Path("p.toml").write_text("".join(f"[[pipeline]]\nrun = '{each}'\n" for each in runs))
    words = ("--task", "toy", "--pipeline", "p.toml", "--json")
    done = run(*words, "--jobs", "2")
    assert done.exit_code == 0, done.output
    ordered = ["baseline", *sorted(runs)]
    rows = read_from(Path("reports/results.jsonl"))
    assert [row.label for row in rows] == ordered
    assert {row.command for row in rows} == {f"compress run {' '.join(words)} --jobs 2"}
    assert [each["error"] for each in json.loads(done.stdout)] == [None] * 3
    assert "pipeline 3 of 3: quantize --scheme int8, seed 0, done" in done.stderr
    again = run(*words)
    assert json.loads(again.stdout) == json.loads(done.stdout)
    assert read_from(Path("reports/results.jsonl")) == rows


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--pipeline", "p.toml", "--jobs", "0"], 2, "0 is not in the range"),
        (["--pipeline", "p.toml", "--on", "nonsense"], 1, "expected ray, or ray://HOST:PORT of a"),
        (["--jobs", "2", "quantize"], 2, "give --pipeline, or leave them out."),
        (["--on", "ray", "quantize"], 2, "give --pipeline, or leave them out."),
        (["quantize", "--jobs", "2"], 2, "give --pipeline, or leave them out."),
        (["--pipeline", "p.toml", "--jobs", "2", "--fresh"], 2, "--fresh does not go with --jobs"),
        (["--pipeline", "p.toml", "--gpus", "1"], 2, "give --on too, or leave them out."),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(
    words: list[str], code: int, sentence: str
) -> None:
    Path("p.toml").write_text("[[pipeline]]\nrun = 'quantize'\n")
    done = run("--task", "toy", *words)
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    assert done.stdout == ""
    assert sentence in done.stderr.strip().splitlines()[-1]
    assert not any(Path("runs").glob("*/manifest.json"))


def test_a_missing_ray_is_refused_with_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    Path("p.toml").write_text("[[pipeline]]\nrun = 'quantize'\n")
    done = run("--task", "toy", "--pipeline", "p.toml", "--on", "ray")
    assert done.exit_code == 1
    assert "pip install 'compress-cnn[ray]'" in done.stderr.splitlines()[-1]
