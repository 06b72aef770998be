"""A repeated command shows the kept results, and computes them again if anything that counts has changed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from baselines.toy import Toy
from compress.cli.main import cli
from compress.runs import precision, provenance, timings

PRUNE = ["run", "--task", "toy", "prune", "--epochs", "0"]
TRAIN = ["train", "--task", "toy", "--width", "0.25", "--epochs", "1"]
# Packages that take longer to import than the table takes to make.
HEAVY = {"tensorflow", "keras", "pandas", "scipy", "statsmodels", "matplotlib", "h5py", "PIL"}


def typed(folder: Path, *words: str, first: str = "") -> tuple[str, str, set[str]]:
    """Standard output and error of a command in a new process in `folder`, and the packages that it imported.

    Args:
      first: code that the process runs before the command.
    """
    code = (
        f"{first}\nimport atexit, sys\nfrom compress.cli.main import main\n"
        "atexit.register(lambda: print('\\n' + ' '.join(sys.modules), file=sys.stderr))\n"
        f"sys.argv = {['compress', *words]!r}\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said, _, modules = done.stderr.strip().rpartition("\n")
    return done.stdout, said, {name.split(".")[0] for name in modules.split()}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which both commands ran once."""
    folder = tmp_path_factory.mktemp("first")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in (TRAIN, PRUNE):
            done = CliRunner().invoke(cli, words)
            assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def folder(first: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(first, tmp_path / "copy")


def compress(folder: Path, *words: str) -> str:
    """The standard error of a command in `folder`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = CliRunner().invoke(cli, list(words))
    assert done.exit_code == 0, done.output
    return done.stderr


@pytest.mark.parametrize("words", [PRUNE, ["prune", "--epochs", "0", "--task", "toy"], TRAIN])
def test_a_repeated_command_imports_nothing_heavy(words: list[str], folder: Path) -> None:
    rows = (folder / "reports/results.jsonl").read_bytes()
    pages = {p: p.stat().st_mtime_ns for p in (folder / "reports").iterdir()}
    shown, said, packages = typed(folder, *words)
    assert packages & HEAVY == set()
    assert "reused from" in said
    assert "accuracy" in shown or "prune --sparsity 0.5" in shown
    assert (folder / "reports/results.jsonl").read_bytes() == rows
    assert {p: p.stat().st_mtime_ns for p in (folder / "reports").iterdir()} == pages


def test_a_timed_precision_is_found_again_without_heavy_imports(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "MIN_PIXELS", 1)
    monkeypatch.setattr(timings, "speedup", lambda *_: 2.0)
    monkeypatch.setattr(provenance, "processor_flags", lambda: {"avx512_bf16"})
    finetune = ["finetune", "--task", "toy", "--epochs", "1"]
    for words in (TRAIN, finetune):
        assert "bfloat16 trains 2.00 times as fast" in compress(folder, *words)
        long = "from compress.runs import precision; precision.MIN_PIXELS = 1"
        _, said, packages = typed(folder, *words, first=long)
        assert packages & HEAVY == set()
        assert "reused from" in said
    assert len(list((folder / "runs").glob("train-*"))) == 2


def test_the_data_are_not_loaded_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(Toy, "load", load)
    assert compress(folder, *PRUNE).count("reused from") == 2
    assert compress(folder, *TRAIN).count("reused from") == 1
    # Its default makes no other training, so it is found by its key.
    assert compress(folder, *TRAIN, "--set", "flip=false").count("reused from") == 1


def test_json_gives_the_kept_rows(folder: Path) -> None:
    shown, _, packages = typed(folder, "run", "--json", *PRUNE[1:])
    kept = [
        json.loads(line) for line in (folder / "reports/results.jsonl").read_text().splitlines()
    ]
    assert json.loads(shown) == kept[1:]
    assert packages & HEAVY == set()


def test_lost_rows_are_restored_and_the_pages_drawn_again(folder: Path) -> None:
    rows = (folder / "reports/results.jsonl").read_text().splitlines()
    (folder / "reports/results.jsonl").unlink()
    compress(folder, *PRUNE)
    assert (folder / "reports/results.jsonl").read_text().splitlines() == rows[1:]
    assert "train --recipe" not in (folder / "reports/comparison.csv").read_text()


def test_lost_pages_are_drawn_again(folder: Path) -> None:
    (folder / "reports/accuracy_against_bytes.svg").unlink()
    compress(folder, *PRUNE)
    assert (folder / "reports/accuracy_against_bytes.svg").exists()


@pytest.mark.parametrize("lost", ["prune-*", "baseline-*"])
def test_a_deleted_run_is_computed_again(lost: str, folder: Path) -> None:
    (run,) = (folder / "runs").glob(lost)
    shutil.rmtree(run)
    assert compress(folder, *PRUNE).count("reused from") == 1
    assert (run / "manifest.json").exists()


def test_fresh_computes_the_runs_again(folder: Path) -> None:
    assert "reused" not in compress(folder, "run", "--fresh", *PRUNE[1:])


def test_without_the_index_the_runs_are_still_reused(folder: Path) -> None:
    (folder / "runs/.index.json").unlink()
    assert compress(folder, *PRUNE).count("reused from") == 2
    assert (folder / "runs/.index.json").exists()


def test_a_model_file_that_changed_is_another_model(folder: Path) -> None:
    path = Toy().baseline_path()
    assert path is not None
    own = shutil.copy(path, folder / "own.keras")
    words = ["run", "--model", own, *PRUNE[1:]]
    assert compress(folder, *words).count("reused from") == 2  # the same content in another place
    (pruned,) = (folder / "runs").glob("prune-*")
    shutil.copy(pruned / "model.keras", own)
    assert "reused" not in compress(folder, *words)


def test_a_repeated_pipeline_file_imports_nothing_heavy(folder: Path) -> None:
    (folder / "pipelines.toml").write_text("[[pipeline]]\nrun = 'prune --epochs 0'\n")
    words = ["run", "--task", "toy", "--pipeline", "pipelines.toml"]
    shown, said, packages = typed(folder, *words)
    assert packages & HEAVY == set()
    assert said.count("reused from") == 2
    assert "done" in shown
