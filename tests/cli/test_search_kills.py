"""Fifty random kills of a search and its workers, here and on Ray: nothing is lost or done twice, rows are whole."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from compress.rows.jsonl import read_from
from compress.search import definition, storage
from compress.search.standing import kind

pytest.importorskip("optuna", reason="extra search")

SPACE = """
chains = ["finetune quantize"]
[finetune]
epochs = [1, 2, 3]
learning-rate = {low = 0.001, high = 0.1, log = true}
"""
KILLS, TRIALS, MORE = 50, 20, 10
WORDS = ["--task", "toy", "--space", "space.toml", "--name", "one", "--jobs", "2", "--lease", "5"]


def at_work(folder: Path) -> set[int]:
    """The workers of a search in that folder, and the tasks of Ray that started them."""
    found = set[int]()
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (each / "cmdline").read_bytes().split(b"\0")
            if b"--worker" in words and str(folder / "runs").encode() in words:
                found.add(int(each.name))
                parent = (each / "stat").read_text().rpartition(")")[2].split()[1]
                if Path(f"/proc/{parent}/cmdline").read_bytes().startswith(b"ray::"):
                    found.add(int(parent))
    return found


def finished(folder: Path) -> dict[int, Any]:
    out = folder / "runs"
    if not (definition.folder_of(out, "one") / storage.FILE).exists():
        return {}
    trials = storage.open_study(definition.load(out, "one"), out).trials
    return {t.number: t.user_attrs["result"] for t in trials if kind(t) == "finished"}


def searching(folder: Path, trials: int, *where: str) -> subprocess.Popen[bytes]:
    words = [*WORDS, "--trials", str(trials), *where]
    with (folder / "said").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "compress", "search", *words],
            cwd=folder, stdout=said, stderr=said, env={**os.environ, "HOME": str(folder)},
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for workers in /proc")
@pytest.mark.parametrize("where", [(), ("--on", "ray")], ids=["here", "ray"])
def test_fifty_random_kills_lose_nothing_and_do_nothing_twice(
    tmp_path: Path, where: tuple[str, ...]
) -> None:
    if where:
        pytest.importorskip("ray", reason="extra ray")
    (tmp_path / "space.toml").write_text(SPACE)
    rng = random.Random(0)
    trials, kills, seen = TRIALS, 0, dict[int, Any]()
    driver = searching(tmp_path, trials, *where)
    while kills < KILLS:
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver.wait(timeout=rng.uniform(5, 30))
        if driver.poll() is None:
            victims = sorted({driver.pid, *at_work(tmp_path)})
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(victims), signal.SIGKILL)
                kills += 1
        elif driver.returncode == 0:  # the search ended before the last kill
            trials += MORE
        now = finished(tmp_path)
        assert {number: now.get(number) for number in seen} == seen
        seen = now
        if driver.poll() is not None:
            driver = searching(tmp_path, trials, *where)
    while driver.wait():
        driver = searching(tmp_path, trials, *where)
    now = finished(tmp_path)
    assert {number: now.get(number) for number in seen} == seen
    runs = [each["run"] for each in now.values()]
    assert len(runs) >= trials // 2  # others were stopped early
    assert len(set(runs)) == len(runs)
    rows = read_from(tmp_path / "runs" / "searches" / "one" / "trials.jsonl")
    assert sorted(row.run for row in rows) == sorted(runs)
    lines = (tmp_path / "reports" / "results.jsonl").read_text().splitlines()
    assert len({json.loads(line)["run"] for line in lines}) == len(lines)
