"""A search and a file of pipelines run as clients of an existing Ray cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from compress.rows.jsonl import read_from

pytest.importorskip("optuna", reason="extra search")
pytest.importorskip("psycopg", reason="the driver of PostgreSQL")
pytest.importorskip("ray", reason="extra ray")

PIPELINES = "[[pipeline]]\nrun = 'finetune --epochs 2 quantize'\n[[pipeline]]\nrun = 'quantize'\n"
SPACE = "chains = ['quantize']\n[quantize]\nscheme = ['int8', 'float16', 'dynamic']\n"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Ray writes to a temporary home folder; the cluster needs no token, as only this machine reaches it."""
    home = str(tmp_path_factory.mktemp("home"))
    ray = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    return {**os.environ, **ray, "HOME": home}


@pytest.fixture(scope="module")
def cluster(environment: dict[str, str]) -> Iterator[str]:
    """The address of a cluster of two CPUs."""
    port = 9000 + os.getpid() % 1000  # below those that Ray gives to workers
    program = Path(sys.executable).with_name("ray")
    words = "start --head --block --node-ip-address=127.0.0.1 --port=0 --num-cpus=2"
    started = subprocess.Popen(
        [program, *words.split(), f"--ray-client-server-port={port}", "--include-dashboard=false"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    yield f"ray://127.0.0.1:{port}"
    started.terminate()
    started.wait()


@pytest.mark.slow
def test_pipelines_and_a_search_run_on_an_existing_cluster(
    tmp_path: Path, cluster: str, environment: dict[str, str], url: str
) -> None:
    def compress(*words: str, on: str = cluster) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "compress", *words, "--task", "toy", "--json", "--jobs", "2", "--on", on],
            cwd=tmp_path, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    (tmp_path / "p.toml").write_text(PIPELINES)
    found = json.loads(compress("run", "--pipeline", "p.toml"))
    assert [(each["error"], len(each["rows"])) for each in found] == [(None, 3), (None, 2)]
    rows = read_from(tmp_path / "reports" / "results.jsonl")
    assert len({row.run for row in rows}) == len(rows) == 4

    # `--on ray` starts its own cluster and does not use one that already runs on this machine.
    again = json.loads(compress("run", "--pipeline", "p.toml", "--out", "apart", on="ray"))
    assert [each["error"] for each in again] == [None, None]

    (tmp_path / "space.toml").write_text(SPACE)
    words = ("--space", "space.toml", "--name", "one", "--trials", "3", "--storage", url)
    assert json.loads(compress("search", *words))["finished"] >= 2
    runs = [row.run for row in read_from(tmp_path / "runs" / "searches" / "one" / "trials.jsonl")]
    assert len(set(runs)) == len(runs) >= 2
