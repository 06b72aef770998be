"""`compress search` as a user types it, on the toy task."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from baselines.toy import Toy
from compress.cli import search_options
from compress.cli.main import cli
from compress.data.dataset import Dataset
from compress.keras_models.model import KerasModel
from compress.pipelines import setup
from compress.rows.jsonl import read_from
from compress.search import budget, definition, storage
from compress.search.standing import kind

optuna = pytest.importorskip("optuna", reason="extra search")

SPACE = """
chains = ["quantize"]
[quantize]
scheme = ["int8", "int16x8", "float16", "dynamic"]
calibration = {low = 50, high = 400}
"""
WORDS = ["search", "--task", "toy", "--space", "space.toml", "--name", "one", "--json"]


def compress(folder: Path, *words: str) -> Result:
    old = Path.cwd()
    os.chdir(folder)
    try:
        return CliRunner().invoke(cli, list(words))
    finally:
        os.chdir(old)


def searched(folder: Path, *words: str) -> dict[str, Any]:
    (folder / "space.toml").write_text(SPACE)
    done = compress(folder, *words)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def opened() -> list[int]:
    """How many trials were finished each time that the test images were opened."""
    return []


@pytest.fixture(scope="module")
def one(
    tmp_path_factory: pytest.TempPathFactory, opened: list[int]
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A folder in which three trials were run, and the JSON of that search."""
    folder = tmp_path_factory.mktemp("search")
    load = Toy.load

    def watched(self: Toy, path: Path | None, note: Any) -> Dataset:
        data = load(self, path, note)

        def open_test() -> Any:
            opened.append(len(ended(folder)))
            return data.open_test()

        return Dataset(data.name, data.classes, data.train, data.validation, open_test)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Toy, "load", watched)
        patch.setenv("COMPRESS_OFFLINE", "1")
        yield folder, searched(folder, *WORDS, "--trials", "3")


def trials(folder: Path, name: str = "one") -> list[Any]:
    out = folder / "runs"
    return storage.open_study(definition.load(out, name), out).trials


def ended(folder: Path) -> list[Any]:
    return [trial for trial in trials(folder) if kind(trial) == "finished"]


def rows(folder: Path, name: str = "one") -> list[Any]:
    return read_from(folder / "runs" / "searches" / name / "trials.jsonl")


def test_the_test_images_stay_closed_until_all_trials_are_done(
    one: tuple[Path, dict[str, Any]], opened: list[int]
) -> None:
    assert opened
    assert set(opened) == {3}


def test_the_best_trial_is_reported_and_its_file_is_copied_to_the_search_folder(
    one: tuple[Path, dict[str, Any]],
) -> None:
    folder, found = one
    assert found["finished"] == 3
    assert found["best"]["top1"] == max(trial.value for trial in ended(folder))
    assert found["best"] == found["front"][0]
    file = folder / found["file"]
    assert file == folder / "runs" / "searches" / "one" / "best.tflite"
    (run,) = (folder / "runs").glob(f"{found['best']['folder']}/model.tflite")
    assert file.read_bytes() == run.read_bytes()
    assert (file.parent / "front.png").exists()


def test_each_trial_has_a_validation_row_in_the_folder_of_the_search(
    one: tuple[Path, dict[str, Any]],
) -> None:
    folder, _ = one
    assert {row.measured_on for row in rows(folder)} == {"validation"}
    runs = [row.run for row in rows(folder)]
    assert sorted(runs) == sorted({t.user_attrs["result"]["run"] for t in ended(folder)})


def test_only_the_best_trial_has_a_test_row_with_a_note_about_the_search(
    one: tuple[Path, dict[str, Any]],
) -> None:
    folder, found = one
    baseline, best = read_from(folder / "reports" / "results.jsonl")
    assert (baseline.label, best.label) == ("baseline", found["best"]["stages"])
    assert best.measured_on == "test"
    assert best.run == found["best"]["run"]
    assert any("Found by search one" in n and "among 3 trials" in n for n in best.notes)
    assert not any("search" in note for note in baseline.notes)
    assert [row["run"] for row in found["on_test"]] == [baseline.run, best.run]


def test_a_repeated_search_command_runs_no_trial_again(one: tuple[Path, dict[str, Any]]) -> None:
    folder, found = one
    files = sorted(folder.glob("runs/*/manifest.json"))
    times = [file.stat().st_mtime_ns for file in files]
    again = searched(folder, *WORDS, "--trials", "3")
    assert again == found
    assert sorted(folder.glob("runs/*/manifest.json")) == files
    assert [file.stat().st_mtime_ns for file in files] == times
    assert len(read_from(folder / "reports" / "results.jsonl")) == 2


def test_the_command_that_is_shown_gives_the_best_without_searching(
    one: tuple[Path, dict[str, Any]],
) -> None:
    folder, found = one
    program, *words = shlex.split(found["command"])
    assert program == "compress"
    done = compress(folder, *words, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)[-1]["run"] == found["best"]["run"]
    assert "reused from" in done.stderr


def test_status_shows_the_result_from_the_storage_alone(
    one: tuple[Path, dict[str, Any]],
) -> None:
    folder, found = one
    shown = json.loads(compress(folder, "search", "--status", "one", "--json").stdout)
    assert {k: v for k, v in shown.items() if k != "on_test"} == {
        k: v for k, v in found.items() if k != "on_test"
    }
    text = compress(folder, "search", "--status", "one")
    assert "3 finished" in text.stdout
    assert found["command"] in text.stdout


def test_another_search_of_the_same_name_is_refused(one: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = one
    done = compress(folder, *WORDS, "--trials", "3", "--max-flash", "9KB")
    assert done.exit_code == 1
    assert "search one already exists with other options" in done.stderr


def test_a_study_of_somebody_else_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    own = optuna.create_study(study_name="one", storage=f"sqlite:///{tmp_path / 'own.db'}")
    own.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    (tmp_path / "space.toml").write_text(SPACE)
    done = compress(tmp_path, *WORDS, "--trials", "3", "--storage", "sqlite:///own.db")
    assert done.exit_code == 1, done.output
    assert "the storage has a study called one that does not belong to a search" in done.stderr
    assert own.user_attrs == {}
    assert len(own.trials) == 1
    assert not [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]


def test_a_run_folder_outside_the_runs_in_a_shared_storage_is_refused(tmp_path: Path) -> None:
    words = [*WORDS, "--trials", "1", "--storage", "sqlite:///shared.db"]
    assert searched(tmp_path, *words)["finished"] == 1
    (trial,) = trials(tmp_path)
    result = {**trial.user_attrs["result"], "folder": "../elsewhere", "run": "another"}
    study = optuna.load_study(study_name="one", storage=f"sqlite:///{tmp_path / 'shared.db'}")
    study.add_trial(
        optuna.create_trial(value=1.0, user_attrs={**trial.user_attrs, "result": result})
    )
    for again in (words, ["search", "--status", "one"]):
        done = compress(tmp_path, *again)
        assert done.exit_code == 1, done.output
        assert "'../elsewhere' as its run folder" in done.stderr


def test_a_damaged_file_of_a_search_is_refused(tmp_path: Path) -> None:
    """With --resume and with --status."""
    whole: dict[str, Any] = {
        "version": 1, "name": "one", "space": {"chains": ["quantize"]}, "objectives": ["top1"], "limits": {},
        "minutes": None, "trials": 1, "storage": None,
    }  # fmt: skip
    file = definition.folder_of(tmp_path / "runs", "one") / definition.FILE
    file.parent.mkdir(parents=True)
    for change in ({"lease": None}, {"lease": float("inf")}, {"lease": 60.0}):
        file.write_text(json.dumps({**whole, "options": {}, **change}))
        for flag in ("--resume", "--status"):
            done = compress(tmp_path, "search", flag, "one")
            assert done.exit_code == 1, done.output
            assert "is not the file of a search (" in done.stderr


def test_the_minutes_begin_after_the_model_and_the_data_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, start = [0.0], setup.start

    def slow(*arguments: Any) -> Any:
        late[0] += 600
        return start(*arguments)

    monkeypatch.setattr(setup, "start", slow)
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + late[0])
    monkeypatch.setattr(budget, "time", clock)
    assert searched(tmp_path, *WORDS, "--minutes", "10", "--trials", "1")["finished"] == 1


def test_a_search_with_another_model_than_before_is_refused(
    tmp_path: Path, toy_model: KerasModel
) -> None:
    toy_model.save(tmp_path / "my.keras")
    words = [*WORDS, "--model", "my.keras", "--trials", "1"]
    assert searched(tmp_path, *words)["finished"] == 1
    results = (tmp_path / "reports" / "results.jsonl").read_bytes()
    retrained = toy_model.copy()
    retrained.keras.set_weights([w * 0.5 for w in retrained.keras.get_weights()])
    retrained.save(tmp_path / "my.keras")
    for again in (words, ["search", "--resume", "one", "--trials", "2"]):
        done = compress(tmp_path, *again)
        assert done.exit_code == 1, done.output
        assert "search one began with another model: " in done.stderr
    assert len(trials(tmp_path)) == 1
    assert (tmp_path / "reports" / "results.jsonl").read_bytes() == results


def test_every_point_of_the_front_of_two_objectives_is_measured_on_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = searched(
        tmp_path, *WORDS, "--trials", "3", "--objective", "top1", "--objective", "file_bytes"
    )
    labels = {row.label for row in read_from(tmp_path / "reports" / "results.jsonl")}
    assert labels == {"baseline", *(each["stages"] for each in found["front"])}


def process(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "compress", *words],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def killed_after(working: subprocess.Popen[str], text: str) -> None:
    """Read what the process says until it says `text`, then kill it."""
    assert working.stderr is not None
    said = []
    for line in working.stderr:
        said.append(line)
        if text in line:
            working.send_signal(signal.SIGKILL)
            break
    else:
        raise AssertionError("".join(said))
    working.communicate()


def assert_whole(folder: Path, finished: list[Any], name: str = "one") -> None:
    """Assert that no trial is lost or run twice, and that every row is whole."""
    now = {t.number: t for t in trials(folder, name)}
    for trial in finished:
        assert now[trial.number].user_attrs["result"] == trial.user_attrs["result"]
    results = [t.user_attrs["result"] for t in now.values() if kind(t) == "finished"]
    runs = [each["run"] for each in results]
    assert sorted(row.run for row in rows(folder, name)) == sorted(set(runs))
    assert len(set(runs)) == len(runs)


def test_a_killed_search_resumes_and_loses_no_trial(tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_text(SPACE)
    words = [*WORDS, "--trials", "3", "--lease", "2"]
    killed_after(process(tmp_path, *words), "trial 0: ")
    before = ended(tmp_path)
    assert len(before) >= 1
    found = searched(tmp_path, "search", "--resume", "one", "--json")
    assert found["finished"] >= 3
    assert_whole(tmp_path, before)


def test_two_workers_share_the_trials_and_only_the_driver_writes_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = searched(tmp_path, *WORDS, "--trials", "4", "--jobs", "2")
    assert found["finished"] >= 4
    assert_whole(tmp_path, [])
    logs = sorted((tmp_path / "runs" / "searches" / "one").glob("worker-*.log"))
    assert [log.name for log in logs] == ["worker-1.log", "worker-2.log"]
    labels = [row.label for row in read_from(tmp_path / "reports" / "results.jsonl")]
    assert labels == ["baseline", found["best"]["stages"]]


def test_a_worker_ends_when_its_parent_process_is_gone() -> None:
    ours = budget.Budget(None, 10, parent=os.getppid())
    assert not ours.is_over()
    assert budget.Budget(None, 10, parent=2**22).is_over()


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ([], 2, "a search needs a budget: give --minutes or --trials."),
        (["--minutes", "0"], 2, "0.0 is not in the range 0<x<=1000000"),
        (["--minutes", "nan"], 2, "nan is not a finite number"),
        (["--trials", "0"], 2, "0 is not in the range"),
        (["--trials", "1", "--max-flash", "much"], 2, "'much' is not an amount such as 65536"),
        (["--trials", "1", "--max-flash", "-4"], 2, "is not an amount"),
        (["--trials", "1", "--max-flash", "64XB"], 2, "is not an amount"),
        (["--trials", "1", "--jobs", "0"], 2, "0 is not in the range"),
        (["--trials", "1", "--objective", "speed"], 2, "'speed' is not one of 'top1'"),
        (["--trials", "1", "--name", "../x"], 1, "is not a name for a search"),
        (["--trials", "1", "--space", "absent.toml"], 1, "absent.toml: No such file"),
        (["--trials", "1", "--storage", "nonsense"], 1, "'nonsense' is not the URL of a database"),
        (["--trials", "1", "--max-flash", "100"], 1, "less than anything in this space takes"),
        (["--trials", "1", "--on", "rey"], 1, "expected ray, or ray://HOST:PORT of a cluster"),
        (["--trials", "1", "--on", "ray://host:1"], 1, "machines cannot share SQLite safely"),
        (
            ["--trials", "1", "--on", "ray://host:1", "--storage", "sqlite:///x.db"],
            1,
            "cannot share SQLite safely",
        ),
        (["--trials", "1", "--cpus", "2"], 2, "of each job in a Ray cluster: give --on too"),
        (["--trials", "1", "--cpus", "0"], 2, "0 is not in the range"),
        (["--trials", "1", "--gpus", "-1"], 2, "-1.0 is not in the range"),
        (["--resume", "absent"], 1, "no search 'absent' in runs/searches."),
        (["--status", "absent"], 1, "no search 'absent' in runs/searches."),
        (["--resume", "x", "--seed", "3"], 2, "--resume takes --seed from the search"),
        (["--status", "x", "--trials", "3"], 2, "--status takes --trials from the search"),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(
    words: list[str], code: int, sentence: str
) -> None:
    task = [] if {"--resume", "--status"} & set(words) else ["--task", "toy"]
    done = CliRunner().invoke(cli, ["search", *task, *words])
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    assert done.stdout == ""
    assert sentence in done.stderr.strip().splitlines()[-1]
    assert not any(Path("runs").glob("*/manifest.json"))


def test_help_imports_neither_tensorflow_nor_optuna() -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom compress.cli.main import cli\n"
        "assert CliRunner().invoke(cli, ['search', '--help']).exit_code == 0\n"
        "print(*{'tensorflow', 'keras', 'optuna', 'sqlalchemy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_every_option_of_runs_is_kept_with_the_search() -> None:
    """Otherwise a resumed search, or its workers, would run with another value."""
    kept = {*definition.KEPT, "out", "as_json"}
    own = {option.name for option in search_options.SEARCH_OPTIONS}
    assert {option.name for option in search_options.search.params} == kept | own
