"""Only one process at a time works in a run folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from compress.runs.folder import RunFolder


def claim_elsewhere(folder: Path, note: str) -> subprocess.Popen[str]:
    code = f"""
from pathlib import Path
from compress.runs.folder import RunFolder
try:
    with RunFolder(Path({str(folder)!r})).lock({note}): print("got it")
except ValueError as error: print(error)
"""
    return subprocess.Popen([sys.executable, "-uc", code], stdout=subprocess.PIPE, text=True)


def test_a_folder_in_use_by_another_process_is_refused(tmp_path: Path) -> None:
    with RunFolder(tmp_path).lock():
        assert "another process is at work" in claim_elsewhere(tmp_path, "None").communicate()[0]
    assert claim_elsewhere(tmp_path, "None").communicate()[0] == "got it\n"


def test_a_folder_in_use_by_another_process_is_waited_for(tmp_path: Path) -> None:
    with RunFolder(tmp_path).lock():
        waiting = claim_elsewhere(tmp_path, "print")
        assert waiting.stdout
        said = waiting.stdout.readline()
    assert said == f"waiting for another process that is at work in {tmp_path}\n"
    assert waiting.communicate()[0] == "got it\n"


def test_a_folder_that_another_process_deletes_is_created_again(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with RunFolder(folder).lock():
        waiting = claim_elsewhere(folder, "print")
        assert waiting.stdout
        waiting.stdout.readline()
        shutil.rmtree(folder)
    assert waiting.communicate()[0] == "got it\n"
    assert (folder / ".lock").exists()
