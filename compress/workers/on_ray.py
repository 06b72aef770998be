"""Ray: workers as tasks of a cluster, either a new one on this machine or an existing one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.workers.processes import LOG, RESTARTS, THREADS

LOCAL, REMOTE = "ray", "ray://"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster, and the resources of each worker on it."""

    address: (
        str | None
    )  # of the cluster's client port, such as ray://host:10001; None: a cluster on this machine alone
    cpus: int
    gpus: float


@dataclass
class RayWorker:
    """A worker as a Ray task, which runs until nothing is left to do."""

    number: int
    task: Any  # the remote function to start, with `arguments`
    arguments: Sequence[Any]
    reference: Any = None

    def start(self) -> None:
        """Submit the task. Ray restarts it, on another machine if need be, if its process or machine is lost."""
        self.reference = self.task.remote(*self.arguments)

    def look_after(self) -> bool:
        """True if the worker is running. ValueError if it failed, or was lost too often."""
        import ray

        ended, _ = ray.wait([self.reference], timeout=0)
        if not ended:
            return True
        try:
            ray.get(self.reference)
        except ray.exceptions.RayError as error:
            reason = str(getattr(error, "cause", None) or error).strip().splitlines()[-1:]
            raise ValueError(
                f"worker {self.number} on Ray failed: {''.join(reason):.300}"
            ) from error
        return False


def cluster_of(where: str, cpus: int, gpus: float) -> Cluster:
    """The cluster that `--on` names. ValueError if `--on` names no cluster, or Ray is not installed."""
    try:
        import ray  # noqa: F401
    except ImportError:
        raise ValueError(
            "--on ray needs Ray, which is not installed: pip install 'compress-cnn[ray]'."
        ) from None
    if where == LOCAL:
        return Cluster(address=None, cpus=cpus, gpus=gpus)
    if not where.startswith(REMOTE) or where == REMOTE:
        raise ValueError(f"--on {where!r:.100}: expected ray, or ray://HOST:PORT of a cluster.")
    return Cluster(address=where, cpus=cpus, gpus=gpus)


@contextlib.contextmanager
def at_work(
    words: Sequence[str], folder: Path, jobs: int, cluster: Cluster
) -> Iterator[list[RayWorker]]:
    """Run `jobs` workers on a cluster, each a Python process with the arguments `words`. They end with the block."""
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # or Ray reports its usage
    own: dict[str, Any] = {"num_cpus": jobs * cluster.cpus, "include_dashboard": False}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the error below says the same
            ray.init(
                cluster.address or "local",  # "local": not a cluster that already runs here
                log_to_driver=False,
                configure_logging=False,
                **({} if cluster.address else own),
            )
    except BaseException as error:
        # Ray raises a plain Exception if the cluster does not start in time.
        if type(error) is Exception or isinstance(error, OSError | RuntimeError | ValueError):
            raise ValueError(_no_cluster(cluster, error)) from error
        raise
    task = ray.remote(num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_retries=RESTARTS)(
        run_worker
    )
    workers = [
        RayWorker(n, task, [list(words), os.getcwd(), str(log), cluster.cpus])
        for n in range(1, jobs + 1)
        for log in [folder.absolute() / LOG.format(n)]
    ]
    try:
        # Ray prints messages on lost tasks, but standard output is for results.
        with contextlib.redirect_stdout(sys.stderr):
            for worker in workers:
                worker.start()
            yield workers
    finally:
        for worker in workers:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.cancel(worker.reference, force=True)
        ray.shutdown()


def _no_cluster(cluster: Cluster, error: BaseException) -> str:
    reason = "".join(str(error).strip().splitlines()[-1:]).rstrip(" .")  # Ray quotes tracebacks
    if cluster.address is None:
        return f"Ray does not start on this machine: {reason:.300}."
    return (
        f"no Ray cluster at {cluster.address}: {reason:.300}. The port is that of its clients; if the cluster asks "
        "for a token, set RAY_AUTH_MODE=token and let ~/.ray/auth_token be that token."
    )


def run_worker(words: Sequence[str], folder: str, log: str, cpus: int) -> None:
    """Run a worker to its end, in a separate process that ends with this one. A killed worker is restarted.

    Args:
      words: arguments of Python that start the worker, without `--worker`.
      folder: working directory of the worker.
    """
    threads = dict.fromkeys(THREADS, str(cpus))
    for _ in range(1 + RESTARTS):
        with open(log, "ab") as written:
            done = subprocess.run(
                [sys.executable, *words, "--worker", str(os.getpid())],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=written, stderr=written,
                env={**os.environ, **threads}, check=False,
            )  # fmt: skip
        if done.returncode >= 0:  # otherwise a signal ended it, for example because memory ran out
            break
    if done.returncode:
        last = Path(log).read_text(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f"exit code {done.returncode}: {''.join(last):.200}; see {log}.")
