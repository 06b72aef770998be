"""The commands as a user types them, on the toy task."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from baselines.toy import Toy
from compress.cli.main import cli

STAGE = "prune --sparsity 0.5 --epochs 1 --learning-rate 0.01"
PRUNE = ["run", "--task", "toy", *STAGE.split()]


def compress(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words))


def process(*words: str, before: str = "") -> subprocess.Popen[str]:
    """The program in a separate process; `before` is Python code that runs first."""
    code = f"{before}\nfrom compress.cli.main import main\nimport sys\nsys.argv = {['compress', *words]!r}\nmain()"
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `compress run prune` ran once."""
    folder = tmp_path_factory.mktemp("pruned")
    done = compress_in(folder, *PRUNE)
    assert done.exit_code == 0, done.output
    return folder


def compress_in(folder: Path, *words: str) -> Result:
    old = Path.cwd()
    os.chdir(folder)
    try:
        return compress(*words)
    finally:
        os.chdir(old)


def test_run_prints_the_comparison_and_writes_rows_report_and_models(pruned: Path) -> None:
    rows = [
        json.loads(line) for line in (pruned / "reports/results.jsonl").read_text().splitlines()
    ]
    assert [r["label"] for r in rows] == ["baseline", STAGE]
    assert set(rows[1]["kernel_sparsity"].values()) == {0.5}
    assert {p.name for p in (pruned / "reports").iterdir()} >= {"comparison.md", "comparison.csv"}
    again = compress_in(pruned, *PRUNE)
    assert again.exit_code == 0
    assert f"{STAGE}: reused from" in again.stderr
    assert "baseline" in again.stdout
    assert "prune --sparsity 0.5" in again.stdout


def test_a_stage_command_alone_is_the_same_run(pruned: Path) -> None:
    alone = compress_in(pruned, *STAGE.split(), "--task", "toy")
    assert alone.exit_code == 0, alone.output
    assert f"{STAGE}: reused from" in alone.stderr


def test_standard_output_has_only_json_with_the_json_option(pruned: Path) -> None:
    done = compress_in(pruned, "run", "--json", *PRUNE[1:])
    rows = json.loads(done.stdout)
    assert [r["label"] for r in rows] == ["baseline", STAGE]


LEFT = (".jsonl", ".predictions")  # suffixes of files that no report writes


def test_report_is_rebuilt_byte_for_byte(pruned: Path) -> None:
    pages = {p.name: p.read_bytes() for p in (pruned / "reports").iterdir() if p.suffix not in LEFT}
    assert len(pages) >= 4
    done = compress_in(pruned, "report", "--out", "again")
    assert done.exit_code == 0, done.output
    assert {p.name: p.read_bytes() for p in (pruned / "again").iterdir()} == pages


def test_evaluate_agrees_with_the_row_for_keras_and_tflite_files(pruned: Path) -> None:
    row = json.loads((pruned / "reports/results.jsonl").read_text().splitlines()[1])
    for name in ("model.keras", "model.tflite"):
        (file,) = (pruned / "runs").glob(f"prune-*/{name}")
        done = compress_in(pruned, "evaluate", str(file), "--task", "toy", "--json")
        measured = json.loads(done.stdout)
        for number in ("top1", "cross_entropy", "sparsity", "file_bytes", "macs", "correct"):
            assert measured[number] == row[number], number


def test_evaluate_and_inspect_print_readable_text(pruned: Path) -> None:
    (file,) = (pruned / "runs").glob("prune-*/model.tflite")
    assert "95 % interval" in compress_in(pruned, "evaluate", str(file), "--task", "toy").stdout
    shown = compress_in(pruned, "inspect", str(file)).stdout
    assert "CONV_2D" in shown


def test_inspect_gives_json(pruned: Path) -> None:
    (file,) = (pruned / "runs").glob("prune-*/model.keras")
    rows = json.loads(compress_in(pruned, "inspect", "--json", str(file)).stdout)
    assert "conv1" in json.dumps(rows)


def test_stages_and_tasks_are_listed() -> None:
    stages = json.loads(compress("stages", "--json").stdout)
    assert {"prune", "round"} <= {s["stage"] for s in stages}
    assert "prune" in compress("stages").stdout
    assert "toy" in compress("tasks").stdout


def test_a_given_model_file_is_compressed(tmp_path: Path) -> None:
    done = compress(
        *["run", "--task", "toy", "--model", str(Toy().baseline_path()), "--json", "round"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)[1]["pipeline"] == [{"stage": "round", "digits": 2}]


TRAIN = ["train", "--task", "toy", "--epochs", "4", "--deterministic", "--json"]
# Sends a signal to the process, SIGKILL or SIGINT, in the middle of the third epoch.
AT_EPOCH_3 = """
import os, signal, compress.cli.console as console
# A process begun in the background of a shell ignores interrupts, and so would its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
def step(self, step, loss, accuracy):
    if getattr(self, "seen", 0) == 2 and step == 3: os.kill(os.getpid(), signal.{signal})
def epoch(self, row):
    self.seen = row["epoch"]; print(row["epoch"])
console.Lines.step, console.Lines.epoch = step, epoch
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The JSON output of an uninterrupted training."""
    folder = tmp_path_factory.mktemp("trained")
    done = compress_in(folder, *TRAIN)
    assert done.exit_code == 0, done.output
    (run,) = (p for p in (folder / "runs").iterdir() if p.is_dir())
    names = {p.name for p in run.iterdir()}
    assert names >= {
        "model.keras",
        "model.tflite",
        "manifest.json",
        "log.csv",
        "training_curves.png",
        "training_curves.svg",
    }
    assert "checkpoint" not in names
    return json.loads(done.stdout)


def test_the_training_summary_has_best_epochs_accuracy_and_parameters(
    trained: dict[str, dict[str, object]],
) -> None:
    summary = trained["summary"]
    for figure in ("validation_cross_entropy", "validation_accuracy"):
        assert 1 <= summary[f"best_{figure}_epoch"] <= 4  # type: ignore[operator]
    low, high = summary["test_accuracy_interval"]  # type: ignore[misc]
    assert low < summary["test_accuracy"] < high  # type: ignore[operator]
    assert summary["params"] == trained["result"]["params"]


def test_a_training_killed_with_sigkill_resumes_and_gives_the_same_model(
    trained: dict[str, dict[str, object]],
) -> None:
    killed = process(*TRAIN, before=AT_EPOCH_3.format(signal="SIGKILL"))
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    onward = process(*TRAIN)
    stdout, stderr = onward.communicate()
    assert onward.returncode == 0, stderr
    assert "resuming after epoch 2" in stderr
    assert json.loads(stdout)["result"]["model"] == trained["result"]["model"]


def test_an_interrupt_in_an_epoch_gives_one_sentence(tmp_path: Path) -> None:
    stopped = process(*TRAIN, before=AT_EPOCH_3.format(signal="SIGINT"))
    _, stderr = stopped.communicate()
    assert stopped.returncode == 1
    assert stderr.splitlines()[-1] == (
        "Error: interrupted. The same command resumes from the last whole epoch."
    )
    assert "Traceback" not in stderr
    assert not (tmp_path / "reports" / "results.jsonl").exists()


def test_a_full_disk_gives_one_sentence_and_leaves_no_partial_files(tmp_path: Path) -> None:
    """A limit on the file size simulates a full disk: writes fail in the middle of a file."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))"
    full = process(*TRAIN, before=limit)
    _, stderr = full.communicate()
    assert full.returncode == 1
    assert "Traceback" not in stderr
    assert "File too large" in stderr.splitlines()[-1]
    left = [
        p.name
        for p in tmp_path.rglob("*")
        if p.is_file() and p.name not in (".lock", ".index.json")
    ]
    assert left == []
