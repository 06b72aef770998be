"""Results of opening hostile files in a separate process, `opener`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

OPENER = Path(__file__).with_name("opener.py")
MOST_BYTES = 2**30  # memory that opening a file under a megabyte may take


@dataclass(frozen=True)
class Opening:
    """The result of opening one file; `said` is empty if it was read."""

    path: Path
    raised: str
    said: str
    mild: bool  # read, or refused by a ValueError or an OSError
    taken: int  # growth of the peak memory of the process, in bytes; 0 where it is not available

    def check(self) -> None:
        """Fail unless the file was read, or refused in a sentence, within bounds of memory."""
        assert self.mild, f"{self.path.name}: {self.raised}: {self.said[:300]}"
        if self.said:
            assert self.said.isprintable(), self.said
            assert self.said.endswith("."), self.said
            # A graph is read from bytes, which have no file name.
            assert self.path.name in self.said or self.path.suffix == ".tflite"
            assert len(self.said) < 1500
        assert self.taken < MOST_BYTES, (self.path.name, self.taken)


def opened(kind: str, warm_up: Path, paths: Sequence[Path]) -> list[Opening]:
    """Open `paths` one after the other in one process; every one of them must leave it alive.

    Args:
      kind: "model", "tflite", "npz", "pickle" or "image".
      warm_up: a valid file, opened first so that imports do not count.
    """
    words = [sys.executable, str(OPENER), kind, str(warm_up), "-"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    named = "\n".join(map(str, paths))
    done = subprocess.run(
        words, env=environment, input=named, capture_output=True, text=True, check=False
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    openings = [Opening(**(line | {"path": Path(line["path"])})) for line in found]
    died = [path.name for path in paths[len(openings) :]][:1]
    assert done.returncode == 0, f"died of {died}: {done.returncode} {done.stderr[-2000:]}"
    return openings


def open_all(folder: Path, kind: str, paths: Sequence[Path]) -> list[Opening]:
    """Open files, of which the first is valid; fail unless each passes `check` and no file was written or changed."""
    there = sorted(folder.rglob("*"))
    contents = {path: path.read_bytes() for path in paths}
    assert max(map(len, contents.values())) < 2**20
    openings = opened(kind, paths[0], paths)
    for opening in openings:
        opening.check()
    assert openings[0].said == ""
    assert sorted(folder.rglob("*")) == there
    assert all(path.read_bytes() == content for path, content in contents.items())
    return openings


def rounds(usual: int) -> int:
    """How many random files to make: COMPRESS_FUZZ times as many as usual."""
    return usual * int(os.environ.get("COMPRESS_FUZZ", "1"))
