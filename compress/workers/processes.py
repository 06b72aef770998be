"""Processes: workers on this machine, each with its share of the processors. Lost workers are restarted."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

RESTARTS = 3  # of each lost worker, at most
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
LOG = "worker-{}.log"


@dataclass
class Worker:
    """A worker process, with the processors that it may use."""

    number: int
    command: Sequence[str]
    cores: Sequence[int]
    log: Path
    starts: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start or restart the process."""
        self.starts += 1
        with self.log.open("ab") as log:
            self.process = started(self.command, self.cores, log)

    def look_after(self) -> bool:
        """True if the worker is running. A lost worker is restarted.

        Raises:
          ValueError: the worker was lost too often.
        """
        code = self.process.poll() if self.process else None
        if code is None:
            return True
        if code == 0:
            return False
        if self.starts > RESTARTS:
            last = self.log.read_text(errors="replace").strip().splitlines()[-1:]
            raise ValueError(
                f"worker {self.number} ended {self.starts} times with exit code {code}: {''.join(last)!r:.300}; "
                f"see {self.log}."
            )
        self.start()
        return True


def started(
    command: Sequence[str], cores: Sequence[int], log: IO[bytes]
) -> subprocess.Popen[bytes]:
    """A new process whose threads stay on these processors."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, **dict.fromkeys(THREADS, str(len(cores)))},
        start_new_session=True,  # an interrupt in the terminal reaches only the driver, which ends its workers
    )
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(process.pid, cores)  # long before it imports TensorFlow
    return process


@contextlib.contextmanager
def at_work(words: Sequence[str], folder: Path, jobs: int) -> Iterator[list[Worker]]:
    """Run `jobs` workers, each a Python process with the arguments `words`. They end with the block."""
    shares = shares_of(available(), jobs)
    command = [sys.executable, *words, "--worker", str(os.getpid())]
    workers = [
        Worker(n, command, cores, folder / LOG.format(n)) for n, cores in enumerate(shares, start=1)
    ]
    try:
        for worker in workers:
            worker.start()
        yield workers
    finally:
        for worker in workers:
            if worker.process and worker.process.poll() is None:
                worker.process.terminate()
                worker.process.wait()


def shares_of(cores: Sequence[int], jobs: int) -> list[list[int]]:
    """The processors of each of `jobs` jobs: an even share of `cores`, but at least one.

    >>> shares_of([0, 1, 2, 3, 4], 2), shares_of([0, 1], 3)
    ([[0, 2, 4], [1, 3]], [[0], [1], [0]])
    """
    return [list(cores[n::jobs]) or [cores[n % len(cores)]] for n in range(jobs)]


def available() -> list[int]:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
