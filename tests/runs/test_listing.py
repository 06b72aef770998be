"""Run folders are listed as they are; old ones are deleted, and nothing else is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import tzset

import pytest
from click.testing import CliRunner, Result

from compress.cli import runs_command
from compress.cli.main import cli
from compress.files import write_json
from compress.runs import listing
from support.report_rows import bits, row

DIGEST = "0123456789ab"


def days_ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def folder(name: str, when: datetime) -> Path:
    """A run folder without a manifest, its files last written at `when`."""
    made = Path("runs") / name
    (made / "checkpoint").mkdir(parents=True)
    (made / ".lock").touch()
    (made / "checkpoint" / "log.csv").write_text("epoch,loss\n1,0.5\n2,0.4\n")
    for path in made.rglob("*"):
        os.utime(path, (when.timestamp(), when.timestamp()))
    return made


def finished(label: str = "prune", days: float = 0, digest: str = DIGEST) -> Path:
    made = Path("runs") / f"{label}-{digest}"
    made.mkdir(parents=True)
    (made / ".lock").touch()
    (made / "model.tflite").write_bytes(b"x" * 1000)
    result = row(
        bits(9_000),
        run=digest.ljust(64, "0"),
        label=label,
        time=days_ago(days).isoformat(timespec="seconds"),
    )
    write_json(made / "manifest.json", {"result": result.record()})
    return made


def listed() -> list[listing.Run]:
    return listing.run_folders(Path("runs"))


def compress(*words: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(cli, list(words), input=typed)


@pytest.fixture
def holder() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that hold run folders, ended with the test."""
    held: list[subprocess.Popen[str]] = []
    yield held
    for process in held:
        process.kill()
        process.communicate()


def hold(path: Path, holder: list[subprocess.Popen[str]]) -> None:
    code = (
        "import fcntl, sys\n"
        f"lock = open({str(path / '.lock')!r}, 'w')\n"
        "fcntl.lockf(lock, fcntl.LOCK_EX)\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    holder.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"


# Listing


def test_finished_and_unfinished_runs_are_told_apart() -> None:
    finished("prune", days=1)
    folder("qat-epochs-9-aaaaaaaaaaaa", days_ago(2))
    # A process that is killed while it writes leaves such files.
    for name in (
        *(".model.keras.k3_x1a2b.keras", ".log.csv.x_1.csv", ".training_curves.svg.x_1.svg"),
        *("predictions.npz", ".predictions_on_validation.npz.x_1.npz"),
    ):
        Path("runs/qat-epochs-9-aaaaaaaaaaaa", name).write_bytes(b"x")
    done, unfinished = sorted(listed(), key=lambda run: run.label)
    assert (unfinished.label, unfinished.state, unfinished.epochs) == (
        "qat-epochs-9",
        "unfinished",
        2,
    )
    assert (done.label, done.state, done.epochs) == ("prune", "finished", None)
    assert done.size_bytes == sum(p.stat().st_size for p in done.folder.iterdir())
    assert done.result is not None


def test_a_file_that_disappears_during_the_listing_is_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finished()
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda top: ((p, d, [*f, "gone"]) for p, d, f in walk(top)))
    (run,) = listed()
    assert run.size_bytes == sum(p.stat().st_size for p in run.folder.iterdir())


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"])
def test_a_time_out_of_range_makes_only_its_own_run_unreadable(time: str) -> None:
    finished("good")
    manifest = finished("odd", digest="b" * 12) / "manifest.json"
    content = json.loads(manifest.read_text())
    content["result"]["time"] = time
    write_json(manifest, content)
    done = compress("runs")
    assert done.exit_code == 0, done.output
    assert "2 run folders" in done.stdout
    assert {run.label: run.state for run in listed()} == {"good": "finished", "odd": "unreadable"}


@pytest.mark.parametrize("zone", ["Etc/GMT+12", "Etc/GMT-14"])
@pytest.mark.parametrize("time", ["0002-01-01T00:00:00+23:59", "9998-12-31T23:59:59-23:59"])
def test_the_earliest_and_the_latest_time_is_shown_in_every_zone(
    time: str, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    tzset()
    path = finished() / "manifest.json"
    content = json.loads(path.read_text())
    content["result"]["time"] = time
    write_json(path, content)
    done = compress("runs")
    monkeypatch.undo()
    tzset()
    assert done.exit_code == 0, done.output
    assert "finished" in done.stdout


def test_the_oldest_comes_first() -> None:
    for days, label in ((1, "b"), (3, "c"), (2, "a")):
        finished(label, days)
    assert [run.label for run in listed()] == ["c", "a", "b"]


def test_a_run_in_use_is_listed_as_such_and_not_deleted(
    holder: list[subprocess.Popen[str]],
) -> None:
    path = folder("qat-aaaaaaaaaaaa", days_ago(2))
    hold(path, holder)
    assert [run.state for run in listed()] == ["in use"]
    with pytest.raises(ValueError, match="another process is at work"):
        listing.delete(listed()[0])
    assert (path / "checkpoint" / "log.csv").exists()
    holder[0].kill()
    holder[0].wait()
    assert [run.state for run in listed()] == ["unfinished"]


def test_listing_writes_nothing() -> None:
    path = finished()
    before = {p: p.stat().st_mtime_ns for p in [path, *path.iterdir()]}
    listed()
    assert {p: p.stat().st_mtime_ns for p in [path, *path.iterdir()]} == before


def test_a_run_with_a_damaged_manifest_is_listed_as_unreadable() -> None:
    path = finished()
    for content in ("", "[]", '{"result": {}}', "[" * 10_000):
        (path / "manifest.json").write_text(content)
        assert [run.state for run in listed()] == ["unreadable"], content[:9]


def test_json_has_what_the_table_has() -> None:
    finished("prune", days=1)
    folder("qat-aaaaaaaaaaaa", days_ago(2))
    one, other = json.loads(compress("runs", "--json").stdout)
    assert one["state"] == "unfinished"
    assert one["epochs"] == 2
    assert one["top1"] is None
    assert other["label"] == "prune"
    assert other["top1"] == 0.9
    assert set(one) == set(other)
    shown = compress("runs").stdout
    assert "unfinished, 2 epochs done" in shown
    assert f"prune-{DIGEST}" in shown
    assert "2 run folders" in shown


def test_a_missing_and_an_empty_folder_give_no_traceback() -> None:
    done = compress("runs")
    assert done.exit_code == 1
    assert "no folder runs" in done.stderr
    Path("runs").mkdir()
    assert "0 run folders, 0 bytes in runs." in compress("runs").stdout


# Folders that are not run folders


def not_runs(outside: Path) -> list[Path]:
    """Things in `runs` that look more or less like old run folders."""
    unlocked = Path("runs/no-lock-aaaaaaaaaaaa")
    unlocked.mkdir(parents=True)
    (unlocked / "manifest.json").write_text("{}")
    named = folder("holiday-pictures", days_ago(99))
    extra = folder("thesis-bbbbbbbbbbbb", days_ago(99))
    (extra / "thesis.tex").write_text("x")
    moved = finished("prune", days=99).rename(f"runs/prune-{'c' * 12}")
    link = Path(f"runs/link-{'d' * 12}")
    link.symlink_to(outside, target_is_directory=True)
    hung = folder(f"hung-{'e' * 12}", days_ago(99))
    (hung / ".lock").unlink()
    (hung / ".lock").symlink_to(outside / ".lock")
    plain = Path(f"runs/file-{'f' * 12}")
    plain.write_text("x")
    return [unlocked, named, extra, moved, link, hung, plain]


def test_other_folders_are_neither_listed_nor_deleted(tmp_path: Path) -> None:
    outside = folder("outside-aaaaaaaaaaaa", days_ago(99)).rename(tmp_path / "outside-aaaaaaaaaaaa")
    kept = not_runs(outside)
    assert listed() == []
    done = compress("runs", "--prune-older-than", "0d", "--yes")
    assert done.exit_code == 0, done.output
    assert all(path.exists() for path in kept)
    assert (outside / "checkpoint" / "log.csv").exists()


def test_links_in_a_run_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_bytes(b"x" * 5000)
    path = finished(days=99)
    (path / "inside").symlink_to(tmp_path / "precious", target_is_directory=True)
    (run,) = listed()
    assert run.size_bytes < 5000
    listing.delete(run)
    assert not path.exists()
    assert (tmp_path / "precious" / "file").exists()


def test_a_run_folder_replaced_by_a_link_is_not_deleted(tmp_path: Path) -> None:
    path = finished(days=99)
    (run,) = listed()
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(ValueError, match="is no longer a run folder, so it is not deleted"):
        listing.delete(run)
    assert (tmp_path / "elsewhere" / "model.tflite").exists()


# Deleting


def test_only_older_runs_are_deleted() -> None:
    old, new = finished("old", days=31), finished("new", days=29, digest="b" * 12)
    half = folder("half-aaaaaaaaaaaa", days_ago(40))
    done = compress("runs", "--prune-older-than", "30d", "--yes")
    assert done.exit_code == 0, done.output
    assert not old.exists()
    assert not half.exists()
    assert new.exists()
    assert f"{old}  " in done.stderr
    assert "Deleted 2 run folders, " in done.stdout


def test_age_is_counted_to_the_second() -> None:
    finished()
    (run,) = listed()
    assert listing.older([run], timedelta(days=1), run.time + timedelta(days=1)) == []
    assert listing.older([run], timedelta(days=1), run.time + timedelta(days=1, seconds=1)) == [run]


def test_a_run_in_use_is_kept_and_reported(holder: list[subprocess.Popen[str]]) -> None:
    busy = folder("busy-aaaaaaaaaaaa", days_ago(40))
    hold(busy, holder)
    os.utime(busy / ".lock", (0, 0))  # taking the lock has touched it
    old = finished("old", days=31)
    done = compress("runs", "--prune-older-than", "30d", "--yes", "--json")
    assert json.loads(done.stdout)["in_use"] == [str(busy)]
    assert [r["label"] for r in json.loads(done.stdout)["deleted"]] == ["old"]
    assert busy.exists()
    assert not old.exists()


def test_without_a_terminal_nothing_is_deleted_unless_yes_is_given() -> None:
    old = finished("old", days=31)
    done = compress("runs", "--prune-older-than", "30d", typed="y\n")
    assert done.exit_code == 1
    assert f"1 run folder, {listed()[0].size_bytes:,} bytes would be deleted" in done.stderr
    assert "add --yes" in done.stderr
    assert old.exists()


@pytest.mark.parametrize(("answer", "stays"), [(True, False), (False, True)])
def test_on_a_terminal_the_answer_decides(
    monkeypatch: pytest.MonkeyPatch, answer: bool, stays: bool
) -> None:
    import click

    class Terminal:
        def isatty(self) -> bool:
            return True

    def confirm(text: str, abort: bool, err: bool) -> bool:
        assert "Delete 1 run folder" in text
        if not answer:
            raise click.Abort
        return True

    old = finished("old", days=31)
    monkeypatch.setattr(runs_command.sys, "stdin", Terminal())
    monkeypatch.setattr(runs_command.click, "confirm", confirm)
    if answer:
        runs_command.prune(Path("runs"), timedelta(days=30), yes=False, as_json=False)
    else:
        with pytest.raises(click.Abort):
            runs_command.prune(Path("runs"), timedelta(days=30), yes=False, as_json=False)
    assert old.exists() == stays


def test_nothing_to_delete_asks_no_question() -> None:
    finished()
    done = compress("runs", "--prune-older-than", "30d")
    assert done.exit_code == 0
    assert "Deleted 0 run folders, 0 bytes." in done.stdout


def test_the_manifest_is_deleted_first_so_that_a_partial_run_is_unfinished(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = finished()

    def killed(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("compress.runs.folder.shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        listing.delete(listed()[0])
    assert path.exists()
    assert [run.state for run in listed()] == ["unfinished"]


@pytest.mark.parametrize("age", ["30", "d", "-1d", "1.5d", "30m", "99999d", "²d"])
def test_a_malformed_age_is_refused(age: str) -> None:
    done = compress("runs", "--prune-older-than", age)
    assert done.exit_code == 2
    assert "is not a number of hours, days or weeks" in done.stderr.replace("\n", " ")


def test_listing_imports_nothing_heavy() -> None:
    finished()
    code = (
        "import sys; from compress.cli.main import cli\n"
        "cli(['runs'], standalone_mode=False)\n"
        "heavy = {'tensorflow', 'keras', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
