"""PostgreSQL, started by the tests on a socket of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def program(name: str) -> str | None:
    """The path of a program of PostgreSQL, which Debian installs outside PATH."""
    kept = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(kept[-1]) if kept else None)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The URL of an empty database."""
    initdb, pg_ctl = program("initdb"), program("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL is not installed")
    user = "postgres" if os.geteuid() == 0 else getpass.getuser()  # it does not run as root
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # a socket's path is short
    if os.geteuid() == 0:
        shutil.chown(folder, user)

    def run(*words: str) -> None:
        subprocess.run(
            words, check=True, cwd=folder, user=user if os.geteuid() == 0 else None,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    data = str(folder / "data")
    run(initdb, "-D", data, "-U", user, "--no-sync", "-A", "trust")
    own = f"-c listen_addresses= -c fsync=off -k {folder}"
    run(pg_ctl, "-D", data, "-w", "-o", own, "-l", str(folder / "log"), "start")
    try:
        yield f"postgresql+psycopg://{user}@/postgres?host={folder}"
    finally:
        run(pg_ctl, "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)
