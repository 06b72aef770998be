"""Workers of a search as tasks of Ray, on a cluster of this machine that the test starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from compress.rows.jsonl import read_from

pytest.importorskip("optuna", reason="extra search")
pytest.importorskip("ray", reason="extra ray")

SPACE = """
chains = ["finetune quantize"]
[finetune]
epochs = [3, 4]
learning-rate = [0.01, 0.02]
"""


def searching(folder: Path, name: str, *more: str) -> subprocess.Popen[str]:
    words = [
        "--task",
        "toy",
        "--space",
        "space.toml",
        "--name",
        name,
        "--trials",
        "4",
        "--lease",
        "2",
    ]
    (folder / "space.toml").write_text(SPACE)
    return subprocess.Popen(
        [sys.executable, "-m", "compress", "search", *words, "--deterministic", "--json", *more],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip


def parents_of_workers(name: str) -> list[int]:
    """The processes of Ray that wait for a worker of that search."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            words = (each / "cmdline").read_bytes().split(b"\0")
            if b"--worker" in words and name.encode() in words:
                found.append(int((each / "stat").read_text().rpartition(")")[2].split()[1]))
        except OSError:
            continue  # it has ended meanwhile
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for workers in /proc")
def test_killing_a_worker_during_a_trial_does_not_change_the_result(
    tmp_path: Path,
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    # One after another, with as many threads: another number of threads adds in another order.
    unbroken, _ = searching(whole, "unbroken", "--on", "ray", "--jobs", "1").communicate()
    working = searching(broken, "broken", "--on", "ray", "--jobs", "2")
    assert working.stderr is not None
    for line in working.stderr:
        if line.startswith("trial "):  # the next is under way
            os.kill(parents_of_workers("broken")[0], signal.SIGKILL)
            break
    said, errors = working.communicate()
    assert working.returncode == 0, errors
    assert json.loads(said)["best"]["top1"] == json.loads(unbroken)["best"]["top1"]
    assert files(broken, "broken") == files(whole, "unbroken")


def files(folder: Path, name: str) -> list[tuple[str, str]]:
    """The run of each trial and the digest of its file, which has one row."""
    rows = read_from(folder / "runs" / "searches" / name / "trials.jsonl")
    assert len(rows) == 4
    return sorted((row.run, row.tflite_digest) for row in rows)
