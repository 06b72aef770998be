"""The cluster that `--on` names, and how a task of it runs a worker."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from compress.workers.on_ray import Cluster, cluster_of, run_worker


@pytest.mark.parametrize("where", ["rey", "ray://", "nonsense"])
def test_a_place_that_is_none_is_refused(where: str) -> None:
    pytest.importorskip("ray", reason="extra ray")
    with pytest.raises(ValueError, match="expected ray, or ray://HOST:PORT of a cluster"):
        cluster_of(where, 1, 0.0)


def test_a_cluster_that_is_there_is_named_by_its_address() -> None:
    pytest.importorskip("ray", reason="extra ray")
    found = cluster_of("ray://host:10001", 2, 0.5)
    assert found == Cluster(address="ray://host:10001", cpus=2, gpus=0.5)
    assert cluster_of("ray", 1, 0.0).address is None


def test_without_ray_the_command_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install 'compress-cnn\[ray\]'"):
        cluster_of("ray", 1, 0.0)


def test_a_worker_that_is_killed_is_started_again_and_one_that_fails_is_not(tmp_path: Path) -> None:
    log = tmp_path / "log"
    kill = "import os; print('once', flush=True); os.kill(os.getpid(), 9)"
    with pytest.raises(RuntimeError, match="exit code -9: once"):
        run_worker(["-c", kill], str(tmp_path), str(log), 1)
    assert log.read_text().splitlines() == ["once"] * 4
    with pytest.raises(RuntimeError, match="exit code 1: no data"):
        run_worker(["-c", "import sys; sys.exit('no data')"], str(tmp_path), str(log), 1)
    assert log.read_text().splitlines() == ["once"] * 4 + ["no data"]
