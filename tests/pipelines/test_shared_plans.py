"""Several processes run the pipelines of a file through a shared folder, each pipeline once."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from compress.keras_models.model import KerasModel
from compress.pipelines import shared_plans, toml_file
from compress.pipelines.pipeline import Pipeline
from compress.pipelines.shared_plans import SharedPlans
from compress.rows.jsonl import read_from
from compress.rows.result import Result
from compress.runs.context import RunContext

TEXT = "".join(
    f"[[pipeline]]\nrun = '{run}'\n"
    for run in ("round --digits 1", "round --digits 1 round --digits 0", "round --digits 2")
)
HOLD = """
import fcntl, sys
lock = open(sys.argv[1], "a")
fcntl.lockf(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""
APART = ("time", "seconds", "peak_memory_bytes")  # where and when a run was made


@pytest.fixture
def shared(tmp_path: Path) -> SharedPlans:
    file = tmp_path / "p.toml"
    file.write_text(TEXT)
    return SharedPlans(toml_file.read(file, 0, None), tmp_path / "out", "p", ["run"])


@pytest.fixture
def starts(context: RunContext, toy_model: KerasModel, tmp_path: Path) -> dict[Any, Any]:
    return {None: (toy_model, dataclasses.replace(context, out=tmp_path / "out"))}


@pytest.fixture
def hold(shared: SharedPlans) -> Iterator[Any]:
    """A function that starts a process which holds the lock of a pipeline, and returns that process."""
    holders = []

    def held(number: int) -> subprocess.Popen[str]:
        lock = shared.folder / f"pipeline-{number + 1}.lock"
        holders.append(
            subprocess.Popen(
                [sys.executable, "-c", HOLD, str(lock)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
        assert holders[-1].stdout.readline() == "held\n"
        return holders[-1]

    yield held
    for holder in holders:
        holder.communicate()


def facts(rows: list[Result]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.record().items() if k not in APART} for row in rows]


def outcomes(shared: SharedPlans, results: Path) -> list[Any]:
    return [shared.outcome(n, results) for n in range(len(shared.plans))]


def test_rows_are_those_of_one_process_in_the_same_order(
    shared: SharedPlans, starts: dict[Any, Any], tmp_path: Path, silent: Any
) -> None:
    ours, theirs = tmp_path / "ours.jsonl", tmp_path / "theirs.jsonl"
    with shared.driven(silent):
        assert outcomes(shared, ours) == [None] * 3
        shared.work(starts, os.getppid())
        found = outcomes(shared, ours)
    model, context = starts[None]
    alone = {None: (model, dataclasses.replace(context, out=tmp_path / "two", results=theirs))}
    expected = toml_file.run(shared.plans, alone)
    assert [facts(o.rows) for o in found] == [facts(o.rows) for o in expected]
    assert facts(read_from(ours)) == facts(read_from(theirs))
    files = [f.with_suffix(".predictions") for f in (ours, theirs)]
    kept = [{file.name: file.read_bytes() for file in folder.iterdir()} for folder in files]
    assert kept[0] == kept[1]
    assert len(kept[0]) == len({row.predictions for row in read_from(ours)})


def test_existing_rows_are_not_written_again(
    shared: SharedPlans, starts: dict[Any, Any], tmp_path: Path, silent: Any
) -> None:
    results = tmp_path / "ours.jsonl"
    for _ in range(2):
        with shared.driven(silent):
            shared.work(starts, os.getppid())
            outcomes(shared, results)
    assert len(read_from(results)) == 4


def test_a_pipeline_that_fails_leaves_the_rows_before_it_and_its_traceback(
    shared: SharedPlans, starts: dict[Any, Any], tmp_path: Path, silent: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    whole = Pipeline._apply_last

    def broken(self: Pipeline, *args: Any) -> Any:
        if len(self.stages) == 2:
            raise RuntimeError("a defect")
        return whole(self, *args)

    monkeypatch.setattr(Pipeline, "_apply_last", broken)
    with shared.driven(silent):
        shared.work(starts, os.getppid())
        found = outcomes(shared, tmp_path / "ours.jsonl")
    assert [o.error for o in found] == [None, "RuntimeError: a defect", None]
    assert [len(o.rows) for o in found] == [2, 0, 2]
    assert 'raise RuntimeError("a defect")' in "\n".join(found[1].traceback)
    assert len(read_from(shared.folder / "pipeline-2.jsonl")) == 2
    assert len(read_from(tmp_path / "ours.jsonl")) == 3


def test_pipelines_of_another_process_and_those_sharing_its_stages_run_last(
    shared: SharedPlans, starts: dict[Any, Any], hold: Any, silent: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    done = []
    run = toml_file.outcome_of
    monkeypatch.setattr(shared_plans, "outcome_of", lambda p, s: done.append(p.name) or run(p, s))
    with shared.driven(silent):
        other = hold(0)
        # After the other pipelines, the process that holds the lock ends, and its pipeline is free.
        clock = SimpleNamespace(sleep=lambda seconds: other.communicate())
        monkeypatch.setattr(shared_plans, "time", clock)
        shared.work(starts, os.getppid())
    assert done == [shared.plans[n].name for n in (2, 1, 0)]


def test_a_pipeline_file_changed_after_the_start_is_reported(
    shared: SharedPlans, starts: dict[Any, Any]
) -> None:
    with pytest.raises(ValueError, match="was changed since the command began"):
        shared.work(starts, os.getppid())


def test_a_worker_ends_when_its_driver_is_gone(
    shared: SharedPlans, starts: dict[Any, Any], silent: Any
) -> None:
    with shared.driven(silent), pytest.raises(KeyboardInterrupt):
        shared.work(starts, 2**22)
    progress = shared_plans.WhileDriven(silent, 2**22)
    with pytest.raises(KeyboardInterrupt):
        progress.begin("training", 1, 1, 1, 0)
    with pytest.raises(KeyboardInterrupt):
        progress.step(1, 0.0, 0.0)


def test_the_folder_is_locked_and_another_command_has_another_folder(
    shared: SharedPlans, tmp_path: Path, silent: Any
) -> None:
    other = SharedPlans(shared.plans, tmp_path / "out", "p", ["run", "--seed", "1"])
    fewer = SharedPlans(shared.plans[1:], tmp_path / "out", "p", ["run"])
    assert len({shared.folder, other.folder, fewer.folder}) == 3
    with shared.driven(silent):
        code = (
            "import sys\nfrom pathlib import Path\nfrom compress.runs.folder import RunFolder\n"
            "with RunFolder(Path(sys.argv[1])).lock(): pass"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(shared.folder)], capture_output=True, text=True
        )
    assert "another process is at work in" in done.stderr
