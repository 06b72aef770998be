"""Workers on this machine are pinned to processors, restarted if they end, and ended with their command."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from compress.workers import drive, processes
from compress.workers.processes import Worker, available


def test_a_worker_that_ends_too_often_stops_the_command_with_its_last_line(
    tmp_path: Path,
) -> None:
    broken = [sys.executable, "-c", "import sys; sys.exit('no memory')"]
    worker = Worker(1, broken, available(), tmp_path / "worker-1.log")
    worker.start()

    def look_after() -> None:
        while worker.process is not None:
            worker.process.wait()
            worker.look_after()

    with pytest.raises(ValueError, match="ended 4 times with exit code 1: 'no memory'"):
        look_after()


def test_each_worker_has_its_share_of_processors_and_as_many_threads(tmp_path: Path) -> None:
    code = "import os; print(os.environ['OMP_NUM_THREADS'], *sorted(os.sched_getaffinity(0)))"
    drive.drive(["-c", code], tmp_path, 2, None, lambda: False)
    shares = processes.shares_of(available(), 2)
    said = [(tmp_path / f"worker-{n}.log").read_text().split() for n in (1, 2)]
    assert said == [[str(len(share)), *map(str, share)] for share in shares]


def test_workers_are_ended_when_the_work_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive, "POLL", 0)
    started: list[Worker] = []
    monkeypatch.setattr(Worker, "look_after", lambda self: bool(started.append(self)) or True)
    drive.drive(["-c", "import time; time.sleep(1000)"], tmp_path, 1, None, lambda: True)
    (worker,) = started
    assert worker.process is not None
    assert worker.process.poll() is not None


def test_a_worker_gets_the_process_id_of_its_command(tmp_path: Path) -> None:
    drive.drive(["-c", "import sys; print(*sys.argv[1:])"], tmp_path, 1, None, lambda: False)
    assert (tmp_path / "worker-1.log").read_text() == f"--worker {os.getpid()}\n"


def test_a_worker_runs_in_its_own_session(tmp_path: Path) -> None:
    drive.drive(
        ["-c", "import os; print(os.getsid(0) == os.getpid())"], tmp_path, 1, None, lambda: False
    )
    assert (tmp_path / "worker-1.log").read_text() == "True\n"
