"""The files of a run stay in its folder: no read or write follows a link or opens a pipe in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from compress.cli.main import cli
from compress.runs import listing
from compress.runs.folder import RunFolder

VICTIM = "not to be touched"


@pytest.fixture
def victim() -> Path:
    Path("elsewhere").mkdir()
    Path("elsewhere/victim").write_text(VICTIM)
    return Path("elsewhere/victim").absolute()


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(ValueError, match=r"\.$") as caught:
        action()
    return str(caught.value)


def claim(folder: Path) -> None:
    with RunFolder(folder).lock():
        pytest.fail("it was claimed")


def test_a_lock_that_is_a_link_is_refused_and_its_target_stays(victim: Path) -> None:
    Path("run").mkdir()
    Path("run/.lock").symlink_to(victim)
    assert "run/.lock is a link" in refusal(lambda: claim(Path("run")))
    assert victim.read_text() == VICTIM


def test_a_lock_that_is_a_link_makes_no_file_elsewhere(victim: Path) -> None:
    Path("run").mkdir()
    Path("run/.lock").symlink_to(victim.parent / "new")
    assert "run/.lock is a link" in refusal(lambda: claim(Path("run")))
    assert list(victim.parent.iterdir()) == [victim]


def test_a_lock_that_is_a_pipe_is_refused_at_once() -> None:
    Path("run").mkdir()
    os.mkfifo("run/.lock")
    assert "run/.lock is not a regular file" in refusal(lambda: claim(Path("run")))


def test_a_run_folder_that_is_a_link_is_refused(victim: Path) -> None:
    Path("run").symlink_to(victim.parent)
    assert "run is a link" in refusal(lambda: claim(Path("run")))
    assert list(victim.parent.iterdir()) == [victim]


def test_a_folder_of_run_folders_may_be_a_link(tmp_path: Path) -> None:
    Path("disk").mkdir()
    Path("runs").symlink_to("disk")
    with RunFolder(Path("runs/run")).lock():
        assert RunFolder(Path("runs/run")).load() is None


@pytest.mark.parametrize("name", ["manifest.json", "model.keras", "checkpoint", "tensorboard"])
def test_a_link_in_a_run_folder_is_refused_before_any_work(name: str, victim: Path) -> None:
    Path("run").mkdir()
    Path("run", name).symlink_to(victim if "." in name else victim.parent)
    assert f"run/{name} is a link" in refusal(RunFolder(Path("run")).load)


def test_a_link_deeper_in_a_run_folder_is_refused(victim: Path) -> None:
    Path("run/checkpoint").mkdir(parents=True)
    Path("run/checkpoint/log.csv").symlink_to(victim)
    assert "run/checkpoint/log.csv is a link" in refusal(RunFolder(Path("run")).load)


def test_a_manifest_that_is_a_pipe_is_refused_at_once() -> None:
    Path("run").mkdir()
    os.mkfifo("run/manifest.json")
    assert "run/manifest.json is not a regular file" in refusal(RunFolder(Path("run")).load)


# Through the commands


TRAIN = ["train", "--task", "toy", "--epochs", "0"]
RUN = ["run", "--task", "toy", "quantize", "--scheme", "float16"]


def compress(*words: str) -> str:
    done = CliRunner().invoke(cli, [*words])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(
    ("words", "name"),
    [(RUN, ".lock"), (RUN, "manifest.json"), (RUN, "checkpoint"), (TRAIN, "model.tflite"), (TRAIN, "checkpoint")],
)  # fmt: skip
def test_fresh_replaces_links_and_leaves_their_targets(
    words: list[str], name: str, victim: Path
) -> None:
    compress(*words)
    folder = next(p for p in Path("runs").iterdir() if p.name.startswith(("train", "quantize")))
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(victim if "." in name else victim.parent)
    refused = CliRunner().invoke(cli, words)
    assert refused.exit_code == 1
    assert f"{folder / name} is a link" in refused.stderr
    if name == ".lock":
        (folder / name).unlink()
    compress(words[0], "--fresh", *words[1:])
    assert list(victim.parent.iterdir()) == [victim]
    assert victim.read_text() == VICTIM
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    assert "reused" in compress(*words)


def test_listing_follows_no_link_in_a_run_folder(victim: Path) -> None:
    folder = Path("runs/prune-0123456789ab")
    folder.mkdir(parents=True)
    (folder / ".lock").touch()
    (victim.parent / "log.csv").write_text("epoch\n1\n2\n")
    (folder / "checkpoint").symlink_to(victim.parent)
    (run,) = listing.run_folders(Path("runs"))
    assert run.epochs == 0
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / ".lock").touch()
    os.mkfifo(folder / "manifest.json")
    (run,) = listing.run_folders(Path("runs"))
    assert run.state == "unreadable"
