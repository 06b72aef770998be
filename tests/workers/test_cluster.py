"""The cluster that `--on` names, and running a worker as a task of the cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from compress.workers.on_ray import Cluster, at_work, cluster_of, run_worker


@pytest.mark.parametrize("where", ["rey", "ray://", "nonsense"])
def test_an_invalid_place_is_refused(where: str) -> None:
    pytest.importorskip("ray", reason="extra ray")
    with pytest.raises(ValueError, match="expected ray, or ray://HOST:PORT of a cluster"):
        cluster_of(where, 1, 0.0)


def test_a_cluster_is_named_by_its_address() -> None:
    pytest.importorskip("ray", reason="extra ray")
    found = cluster_of("ray://host:10001", 2, 0.5)
    assert found == Cluster(address="ray://host:10001", cpus=2, gpus=0.5)
    assert cluster_of("ray", 1, 0.0).address is None


def test_the_install_command_is_named_if_ray_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install 'compress-cnn\[ray\]'"):
        cluster_of("ray", 1, 0.0)


def test_a_killed_worker_is_restarted_and_a_failed_worker_is_not(tmp_path: Path) -> None:
    log = tmp_path / "log"
    kill = "import os; print('once', flush=True); os.kill(os.getpid(), 9)"
    with pytest.raises(RuntimeError, match="exit code -9: once"):
        run_worker(["-c", kill], str(tmp_path), str(log), 1)
    assert log.read_text().splitlines() == ["once"] * 4
    with pytest.raises(RuntimeError, match="exit code 1: no data"):
        run_worker(["-c", "import sys; sys.exit('no data')"], str(tmp_path), str(log), 1)
    assert log.read_text().splitlines() == ["once"] * 4 + ["no data"]


@pytest.mark.parametrize(
    ("address", "error", "sentence"),
    [
        (None, Exception("The node timed out during startup."), "Ray does not start on this machine: The node"),
        ("ray://host:1", ConnectionError("connection timeout"), "no Ray cluster at ray://host:1: connection timeout."),
        ("ray://host:1", RuntimeError("Traceback:\n  a line\nthe last. "), "no Ray cluster at ray://host:1: the last."),
    ],
)  # fmt: skip
def test_an_unreachable_or_failed_cluster_is_an_error_of_one_sentence(
    address: str | None, error: Exception, sentence: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    ray = pytest.importorskip("ray", reason="extra ray")

    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(ValueError, match="Ray") as raised:
        at_work(["-c", "pass"], tmp_path, 1, Cluster(address=address, cpus=1, gpus=0)).__enter__()
    assert str(raised.value).startswith(sentence)
    assert len(str(raised.value).splitlines()) == 1


def test_a_local_cluster_does_not_join_a_cluster_that_already_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray, asked = pytest.importorskip("ray", reason="extra ray"), list[str]()

    def init(address: str, **_: Any) -> None:
        asked.append(address)
        raise ConnectionError

    monkeypatch.setattr(ray, "init", init)
    for address in (None, "ray://host:1"):
        with pytest.raises(ValueError, match="Ray"):
            at_work(
                ["-c", "pass"], tmp_path, 1, Cluster(address=address, cpus=1, gpus=0)
            ).__enter__()
    assert asked == ["local", "ray://host:1"]
