"""Drive: run the workers of a command, and supervise them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from compress.workers import on_ray, processes
from compress.workers.on_ray import Cluster, RayWorker
from compress.workers.processes import Worker

POLL = 0.5  # seconds between two checks of the workers


def drive(
    words: Sequence[str],
    folder: Path,
    jobs: int,
    cluster: Cluster | None,
    look: Callable[[], bool],
) -> None:
    """Run `jobs` workers until they end, or until nothing is left to do.

    Args:
      words: arguments of Python for a worker. It also gets `--worker` and the id of the process that it ends with.
      folder: for the logs of the workers.
      cluster: where the workers run; None: on this machine.
      look: called again and again; returns True if all work is done.

    Raises:
      ValueError: a worker failed, or was lost too often.
    """
    with contextlib.ExitStack() as ends:
        if cluster is None:
            here = processes.at_work(words, folder, jobs)
            workers: Sequence[Worker | RayWorker] = ends.enter_context(here)
        else:
            workers = ends.enter_context(on_ray.at_work(words, folder, jobs, cluster))
        busy = True
        while busy:
            time.sleep(POLL)
            at_work = [worker for worker in workers if worker.look_after()]
            busy = not look() and bool(at_work)
