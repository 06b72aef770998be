"""A run is trained without TensorFlow, or without measuring; the same words later measure it, and train nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from baselines.toy import Toy
from compress import backend
from compress.cli.main import cli
from compress.pipelines import setup
from compress.rows.jsonl import read_from
from compress.runs import training_run
from compress.runs.listing import run_folders
from compress.tasks import view
from support.fresh_python import ROOT

# The recipe of this network averages weights.
TRAIN = ["train", "--task", "toy", "--network", "residual", "--epochs", "1"]
DISTILL = ["distill", "--task", "toy", "--student-width", "0.5", "--epochs", "1"]


@dataclass(frozen=True)
class OnJax:
    """The folder that a process on JAX left, its standard error, and its facts."""

    folder: Path
    said: str
    facts: dict[str, Any]


@pytest.fixture(scope="module")
def on_jax(tmp_path_factory: pytest.TempPathFactory) -> OnJax:
    folder = tmp_path_factory.mktemp("jax")
    words = [[*each, "--no-measure"] for each in (TRAIN, DISTILL)]
    script = ROOT / "tests" / "support" / "train_on_jax.py"
    done = subprocess.run(
        [sys.executable, script, json.dumps(words)],
        cwd=folder, env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return OnJax(folder, done.stderr, json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which commands run."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def trained(on_jax: OnJax, here: Path) -> Path:
    """A copy of the folder that JAX trained in, in which commands run."""
    shutil.copytree(on_jax.folder, here, dirs_exist_ok=True)
    return here


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: object, **__: object) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr(training_run, "fit", fit)
    monkeypatch.setattr(view, "fit", fit)


def compress(*words: str) -> Result:
    done = CliRunner().invoke(cli, list(words))
    assert done.exit_code == 0, done.output
    return done


def files_of(pattern: str) -> set[str]:
    (run,) = Path("runs").glob(pattern)
    return {path.name for path in run.iterdir() if path.suffix not in (".png", ".svg")}


def test_training_on_jax_imports_no_tensorflow(on_jax: OnJax) -> None:
    assert not on_jax.facts["tensorflow"]


def test_an_unmeasured_run_has_a_model_and_no_row(on_jax: OnJax, trained: Path) -> None:
    assert files_of("train-*") == {".lock", "log.csv", "model.keras", "trained.json"}
    assert files_of("distill-*") == {".lock", "model.keras", "trained.json"}
    assert on_jax.said.count("trained, not measured, so there is no .tflite file and no row.") == 2
    assert not (trained / "reports/results.jsonl").exists()
    assert {(run.state, run.epochs) for run in run_folders(Path("runs"))} == {("trained", None)}


def test_weight_averaging_on_jax_equals_the_average_computed_by_hand(on_jax: OnJax) -> None:
    averages = on_jax.facts["averages"]
    np.testing.assert_allclose(averages["given"], averages["expected"], rtol=1e-5)
    assert not np.allclose(averages["given"], averages["last"], rtol=1e-3)


@pytest.mark.parametrize("words", [TRAIN, DISTILL], ids=lambda words: words[0])
def test_the_same_command_measures_the_model_that_jax_trained(
    words: list[str], trained: Path, no_training: None
) -> None:
    (run,) = (trained / "runs").glob(f"{words[0]}-*")
    model = (run / "model.keras").read_bytes()
    assert "trained before, measured now" in compress(*words).stderr
    row = read_from(trained / "reports/results.jsonl")[-1]
    assert row.recorded == {"backend": "jax"}
    assert "It was trained on JAX" in row.notes[-1]
    assert row.run.startswith(run.name[-12:])
    assert (run / "model.tflite").stat().st_size == row.file_bytes
    assert (run / "model.keras").read_bytes() == model
    assert json.loads((run / "manifest.json").read_text())["trained"]["backend"] == "jax"
    assert not (run / "trained.json").exists()
    # And once more: the row is there.
    assert f"reused from runs/{run.name}" in compress(*words).stderr
    assert read_from(trained / "reports/results.jsonl")[-1] == row


def test_a_tensorflow_training_is_preferred_to_a_jax_training(trained: Path) -> None:
    compress(*TRAIN, "--fresh")
    assert len(list((trained / "runs").glob("train-*"))) == 2
    compress(*TRAIN)
    (row,) = read_from(trained / "reports/results.jsonl")
    assert row.recorded == {}


def test_a_run_measured_later_equals_one_measured_at_once(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*TRAIN, "--deterministic"]
    compress(*words, "--out", "at-once", "--results", "at-once/rows.jsonl")
    compress(*words, "--no-measure")
    assert not (here / "reports/results.jsonl").exists()
    compress(*words)
    (at_once,), (later,) = (
        read_from(Path(p)) for p in ("at-once/rows.jsonl", "reports/results.jsonl")
    )
    same = ("run", "model", "predictions", "file_bytes", "params", "notes", "recorded")
    assert [getattr(at_once, name) for name in same] == [getattr(later, name) for name in same]


def test_a_trained_run_is_not_trained_again(
    trained: Path, no_training: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Keras computes on TensorFlow here; only the key of JAX is asked for.
    monkeypatch.setattr(setup.backend, "name", lambda: "jax")
    before = {path: path.stat().st_mtime_ns for path in (trained / "runs").glob("*/model.keras")}
    for words in (TRAIN, DISTILL):
        assert "trained, not measured" in compress(*words, "--no-measure").stderr
    assert {p: p.stat().st_mtime_ns for p in (trained / "runs").glob("*/model.keras")} == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (TRAIN, "measuring needs TensorFlow"),
        (DISTILL, "with --no-measure, and measure later with the same command without it"),
        (["run", *DISTILL[1:3], "prune"], "measuring needs TensorFlow"),
        (["prune", "--task", "toy", "--no-measure"], "prune needs TensorFlow"),
        ([*TRAIN, "--no-measure", "--deterministic"], "--deterministic orders the additions of TensorFlow"),
        ([*TRAIN, "--no-measure", "--tensorboard"], "--tensorboard needs"),
    ],
)  # fmt: skip
def test_commands_that_jax_cannot_run_are_refused_before_any_work(
    words: list[str], sentence: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "name", lambda: "jax")
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 1
    assert sentence in done.stderr
    assert list(here.iterdir()) == []


def test_another_backend_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "name", lambda: "torch")
    done = CliRunner().invoke(cli, [*TRAIN, "--no-measure"])
    assert done.exit_code == 1
    assert "Keras is set to compute on 'torch'; expected tensorflow, or jax" in done.stderr


@pytest.mark.parametrize(
    "words", [["evaluate"], ["inspect"], ["inspect", "--sensitivity"], ["doctor"]]
)
def test_commands_that_inspect_a_model_are_refused_on_jax(
    words: list[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "name", lambda: "jax")
    done = CliRunner().invoke(cli, [*words, str(Toy().baseline_path())])
    assert done.exit_code == 1
    assert f"set to compute on 'jax', and `compress {words[0]}` needs TensorFlow for" in done.stderr
    assert "unset KERAS_BACKEND" in done.stderr


def test_a_missing_jax_is_refused_with_the_install_command(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "name", lambda: "jax")
    monkeypatch.setattr(setup.importlib.util, "find_spec", lambda _: None)
    done = CliRunner().invoke(cli, [*TRAIN, "--no-measure"])
    assert done.exit_code == 1
    assert "not installed: pip install 'compress-cnn[jax]'" in done.stderr


def test_a_damaged_trained_json_is_refused(trained: Path) -> None:
    (facts,) = (trained / "runs").glob("train-*/trained.json")
    facts.write_text("{")
    done = CliRunner().invoke(cli, TRAIN)
    assert done.exit_code == 1
    assert "does not say how its model was trained: delete this folder" in done.stderr


def test_no_measure_is_refused_for_a_stage_that_gives_a_tflite_file() -> None:
    done = CliRunner().invoke(cli, ["quantize", "--no-measure"])
    assert done.exit_code == 2
