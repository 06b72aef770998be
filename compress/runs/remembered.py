"""A cache in the folder of runs for values that are measured before a run, so that the same command is the same run."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compress.files import open_lock, write_json
from compress.input_file import regular

MAX_RUNS = 2_000  # in the cache; the oldest are dropped first


def remembered(
    path: Path, run: str, is_valid: Callable[[Any], bool], settle: Callable[[], Any]
) -> Any:
    """The value of a run in the JSON file `path`. If missing, it is `settle()`, stored there; other processes wait."""
    with open_lock(path.with_suffix(".lock")) as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        known = _read(path, is_valid)
        if run not in known:
            known = {**dict(list(known.items())[1 - MAX_RUNS :]), run: settle()}
            write_json(path, known)
    return known[run]


def recalled(path: Path, run: str, is_valid: Callable[[Any], bool]) -> Any:
    """The valid value of a run in the JSON file `path`; None if there is none."""
    return _read(path, is_valid).get(run)


def _read(path: Path, is_valid: Callable[[Any], bool]) -> dict[str, Any]:
    """Key of a run -> its valid cached value; empty if the file cannot be read."""
    try:
        content = {} if path.is_symlink() else json.loads(regular(path).read_bytes())
        return {run: value for run, value in content.items() if is_valid(value)}
    except (OSError, AttributeError, ValueError, RecursionError):
        return {}
