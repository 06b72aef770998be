"""A command finishes without its standard error: a closed terminal, a pager that was left, a full disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from compress.files import write_json
from support.report_rows import bits, row

Done = subprocess.CompletedProcess[str]
COMMAND = [sys.executable, "-m", "compress"]


def compress(*words: str, **streams: Any) -> Done:
    """Run a command in a new process, with empty input."""
    given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "text": True} | streams
    return subprocess.run([*COMMAND, *words], check=False, timeout=300, **given)


def whose_reader_left(*words: str) -> Done:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return compress(*words, stderr=writer)
    finally:
        os.close(writer)


def that_is_closed(*words: str) -> Done:
    shell = ["sh", "-c", 'exec "$@" 2>&-', "sh"]
    return subprocess.run(
        [*shell, *COMMAND, *words], check=False, timeout=300, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    )  # fmt: skip


def on_a_full_disk(*words: str) -> Done:
    with Path("/dev/full").open("w") as full:
        return compress(*words, stderr=full)


every_stream = pytest.mark.parametrize("run", [whose_reader_left, that_is_closed, on_a_full_disk])


@every_stream
def test_a_command_finishes_without_its_standard_error(run: Any) -> None:
    for number in range(3):
        folder = Path("runs") / f"prune-{number:012}"
        folder.mkdir(parents=True)
        (folder / ".lock").touch()
        made = row(bits(9_000), run=f"{number:012}".ljust(64, "0"), time="2020-01-01T00:00:00")
        write_json(folder / "manifest.json", {"result": made.record()})
    done = run("runs", "--prune-older-than", "1h", "--yes", "--json")
    assert done.returncode == 0
    assert len(json.loads(done.stdout)["deleted"]) == 3
    assert list(Path("runs").iterdir()) == []


@every_stream
@pytest.mark.parametrize(("words", "code"), [(["inspect", "nowhere.keras"], 1), (["prnue"], 2)])
def test_a_refusal_keeps_its_exit_code(run: Any, words: list[str], code: int) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (code, "")


def test_a_training_continues_when_the_reader_of_its_progress_leaves() -> None:
    """The reader reads one line and leaves, as `| head -1` does; the log has every epoch."""
    words = [*COMMAND, "train", "--task", "toy", "--epochs", "2", "--json"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    with subprocess.Popen(words, text=True, **streams) as process:  # type: ignore[call-overload]
        assert "2 epochs" in process.stderr.readline()
        process.stderr.close()
        said = process.stdout.read()
    assert process.returncode == 0
    folder = Path(json.loads(said)["folder"])
    assert (folder / "manifest.json").exists()
    assert len((folder / "log.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_other_streams_may_be_closed_too(closed: str) -> None:
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh"]
    done = subprocess.run([*shell, *COMMAND, "stages"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["stages", "tasks"])
def test_a_reader_of_results_that_leaves_causes_no_message(name: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = compress(name, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_tracebacks_and_warnings_show_no_control_characters() -> None:
    code = (
        "import warnings\n"
        "from compress.cli import streams\n"
        "streams.prepare()\n"
        "warnings.warn('\\x1b]0;warned\\x07')\n"
        "raise RuntimeError('\\x1b]0;owned\\x07')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "UserWarning:  ]0;warned" in done.stderr
    assert "RuntimeError:  ]0;owned" in done.stderr
    assert done.stderr.replace("\n", "").isprintable()
