"""Measure a whole process, and store a result with its machine and versions; for the benchmarks of this folder."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def timed(
    words: Sequence[str], folder: Path, cores: Sequence[int] | None = None
) -> dict[str, float]:
    """Wall seconds, CPU seconds and peak memory in bytes of one process, which must succeed.

    Args:
      folder: the working folder of the process; its output goes to log.txt there.
      cores: the processors it may use; all if not given.
    """
    log = folder / "log.txt"
    began = time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen(words, cwd=folder, stdout=file, stderr=subprocess.STDOUT)
        if cores is not None:
            os.sched_setaffinity(process.pid, cores)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{shlex.join(words)} failed:\n{log.read_text()}")
    return {
        "seconds": round(time.monotonic() - began, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_memory_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }


def keep(path: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Write a result as JSON, with the machine, the versions, the commit and the time. Return what was written."""
    # Imported only now: memory that this process holds when it starts another counts for that one too.
    from compress.files import write_json
    from compress.runs import provenance

    versions = provenance.versions() | result.get("versions", {})
    whole = {
        **result,
        "machine": provenance.machine(),
        "versions": versions,
        "commit": provenance.commit(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(path, whole)
    return whole
