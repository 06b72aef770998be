"""Mistakes of a new user give one sentence and exit code 2 or 1, and leave no partial files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from baselines.toy import Toy
from compress import backend
from compress.cli.main import cli
from compress.rows.jsonl import read_from

BASELINE = str(Toy().baseline_path())


def refused(words: list[str], code: int) -> str:
    """Run a command that must be refused; return the last line printed."""
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    assert result.stdout == ""
    return result.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run", "prune", "--sparsity", "1.5"], "1.5 is not in the range 0<=x<1"),
        (["run", "prune", "--sparsity", "abc"], "'abc' is not a valid float"),
        (["run", "prun"], "Did you mean 'prune'?"),
        (["run"], "no stage given"),
        (["run", "--task", "toy"], "no stage given"),
        (["prnue"], "Did you mean 'prune'?"),
        (["run", "--seed", "-1", "prune"], "-1 is not in the range"),
        (["train", "--width", "0"], "0.0 is not in the range"),
        (["train", "--width", "nan"], "option 'width': nan is not a finite number"),
        (["distill", "--temperature", "1e-300"], "1e-300 is not in the range 0.1<=x<=1000"),
        (["train", "--epochs", "-1"], "-1 is not in the range"),
        (["train", "--epochs", str(2**70)], "is not in the range 0<=x<=100000"),
        (["prune", "--epochs", str(2**70)], "is not in the range 0<=x<=100000"),
        (["evaluate"], "Missing argument 'FILE'"),
        (
            ["doctor", "m.keras", "--data", "d.npz"],
            "--data goes with --task: name the task, or leave --data out",
        ),
        (["doctor", "m.keras", "--input-scale", "1"], "--input-scale goes with --task"),
        (
            ["run", "--task", "toys", "prune"],
            "no task 'toys'; tasks here: cifar10, images, toy. Did you mean 'toy'?",
        ),
        (["doctor", "m.keras", "--task", "toys"], "Did you mean 'toy'?"),
        (
            ["train", "--task", "toy", "--recipe", "slow"],
            "no recipe 'slow'; recipes here: toy.",
        ),
        (["train", "--recipe", "strnog"], "Did you mean 'strong'?"),
        (
            ["train", "--network", "resnte"],
            "no network 'resnte'; networks here: plain, resnet, airbench. Did you mean 'resnet'?",
        ),
        (["train", "--network", "-x"], "no network '-x'; networks here: plain, resnet"),
        (
            ["train", "--network", "resnet", "--width", "0.5"],
            "no option --width; network resnet has --widths, --depth. Did you mean --widths?",
        ),
        (["train", "--depth", "14"], "no option --depth; network plain has --width."),
        (["train", "--epoch", "3"], "Did you mean --epochs?"),
        (["train", "--task", "toys", "--width", "1"], "no task 'toys'"),
        (["train", "--task", "toy", "--network", "resnet"], "networks here: baseline, residual."),
        (
            ["train", "--network", "resnet", "--widths", "16,32"],
            "'16,32' is not 3 whole numbers from 1 to 1024 with commas between, such as 1,2,3.",
        ),
        (["train", "--network", "resnet", "--depth", "15"], "15 is not 6n + 2"),
        (["train", "--network", "resnet", "--depth", "x"], "'x' is not a valid integer range"),
        (["train", "--network", "airbench", "--momentum", "1"], "1.0 is not in the range 0<=x<1"),
        (
            ["train", "--network", "resnet", "--recipe", "published"],
            "no recipe 'published'; recipes here: strong.",
        ),
    ],
)
def test_wrong_arguments_are_refused_with_exit_code_2(words: list[str], sentence: str) -> None:
    assert sentence in refused(words, code=2)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run", "--task", "toy", "--data", "x", "prune"], "task toy draws its own images"),
        (["run", "--data", "nowhere", "prune"], "nowhere"),
        (["evaluate", "missing.keras", "--data", "nowhere"], "no file missing.keras"),
        (
            ["run", "--model", "missing.keras", "--data", "nowhere", "prune"],
            "no file missing.keras",
        ),
        (["inspect", "missing.tflite"], "missing.tflite"),
        (["report"], "no rows at reports/results.jsonl"),
    ],
)
def test_missing_files_and_data_are_refused_with_exit_code_1(
    words: list[str], sentence: str, tmp_path: Path
) -> None:
    assert sentence in refused(words, code=1)
    assert not (tmp_path / "reports" / "results.jsonl").exists()


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.tflite"])
@pytest.mark.parametrize("command", ["run", "evaluate", "inspect"])
def test_a_text_file_with_the_name_of_a_model_is_refused(
    command: str, name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text("I am no model.\n" * 50)
    words = {
        "run": ["run", "--task", "toy", "--model", name, "prune"],
        "evaluate": ["evaluate", name, "--task", "toy"],
        "inspect": ["inspect", name],
    }[command]
    assert name in refused(words, code=1)


@pytest.mark.parametrize(
    ("shape", "classes", "sentence"),
    [((8, 8, 1), 3, "8x8x1"), ((12, 12, 3), 5, "5 classes")],
)
def test_model_of_another_task_is_refused(
    shape: tuple[int, int, int], classes: int, sentence: str, tmp_path: Path
) -> None:
    layers = backend.keras().layers
    stack = [layers.Input(shape), layers.Flatten(), layers.Dense(classes)]
    backend.keras().Sequential(stack).save(tmp_path / "other.keras")
    words = ["run", "--task", "toy", "--model", "other.keras", "prune", "--epochs", "0"]
    assert sentence in refused(words, code=1)
    assert not list(tmp_path.glob("runs/*/manifest.json"))


def test_tflite_file_cannot_be_compressed_further(tmp_path: Path) -> None:
    from compress.model_files.load import load_model

    load_model(Path(BASELINE)).to_tflite().save(tmp_path / "m.tflite")  # type: ignore[union-attr]
    words = ["run", "--task", "toy", "--model", "m.tflite", "prune"]
    assert "stages start from a .keras or .h5 model" in refused(words, code=1)


DEVICES = [
    ["run", "--task", "toy", "--results", "/dev/null", "prune"],
    ["prune", "--task", "toy", "--results", "/dev/null"],
    ["train", "--task", "toy", "--results", "/dev/zero"],
    ["report", "--results", "/dev/zero"],
    ["run", "--task", "toy", "--pipeline", "/dev/zero"],
    ["run", "--task", "toy", "--model", "/dev/zero", "prune"],
    ["distill", "--task", "toy", "--teacher", "/dev/zero"],
    ["evaluate", "--task", "toy", "/dev/zero"],
    ["inspect", "/dev/zero"],
    ["doctor", "/dev/zero"],
    ["slim", "/dev/zero"],
    ["evaluate", BASELINE, "--data", "/dev/zero"],
    ["evaluate", BASELINE, "--task", "images", "--data", "/dev/zero"],
    ["evaluate", BASELINE, "--task", "images", "--data", "pipe"],
    ["report", "--results", "link"],
]


@pytest.mark.parametrize("words", DEVICES, ids=" ".join)
def test_devices_and_pipes_are_refused_without_reading(words: list[str], tmp_path: Path) -> None:
    os.mkfifo("pipe")
    Path("link").symlink_to("/dev/zero")
    assert "is a device or a pipe; expected a file" in refused(words, code=2)
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "link"}


@pytest.mark.parametrize("option", ["--out", "--results"])
def test_folder_that_cannot_be_written_is_refused_before_any_work(
    option: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    place = "file/results.jsonl" if option == "--results" else "file"
    words = ["run", "--task", "toy", option, place, "prune"]
    assert "Name another folder with --out or --results" in refused(words, code=1)
    assert (tmp_path / "file").read_text() == "in the way"


def test_broken_row_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"half": \n')
    assert "rows.jsonl, line 1" in refused(["report", "--results", "rows.jsonl"], code=1)


def test_broken_row_is_found_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"half": \n')
    words = ["run", "--task", "toy", "--results", "rows.jsonl", "prune", "--epochs", "0"]
    sentence = refused(words, code=1)
    assert "rows.jsonl, line 1: " in sentence
    assert sentence.endswith("; correct that line or take it out.")
    assert not list(tmp_path.glob("runs/*"))


def test_a_command_with_bytes_that_are_not_utf_8_is_recorded_as_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [
        "run",
        "--task",
        "toy",
        "--results",
        "caf\udce9.jsonl",
        "quantize",
        "--scheme",
        "float16",
    ]
    monkeypatch.setattr(sys, "argv", ["compress", *words])
    assert CliRunner().invoke(cli, words).exit_code == 0
    rows = read_from(Path("caf\udce9.jsonl"))
    assert "caf\\udce9.jsonl" in rows[-1].command


def test_an_option_that_is_not_utf_8_is_refused() -> None:
    Path("caf\udce9.keras").write_bytes(Path(BASELINE).read_bytes())
    words = ["distill", "--task", "toy", "--teacher", "caf\udce9.keras"]
    said = refused(words, code=2)
    assert "option 'teacher': 'caf\\udce9.keras' is not valid UTF-8 text: rename it" in said


def test_a_folder_as_results_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    words = ["run", "--task", "toy", "--results", "rows", "prune", "--epochs", "0"]
    assert "rows: Is a directory" in refused(words, code=1)
    assert not list(tmp_path.glob("runs/*"))
