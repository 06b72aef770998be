"""Rows hold the validation accuracy after each epoch of their last stage."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner

from compress.cli.main import cli
from compress.rows.jsonl import read_from
from compress.rows.result import Result
from compress.runs.curve import curve_of
from compress.runs.folder import RunFolder


def rows_of(folder: Path, *words: str) -> list[Result]:
    """The rows that a command writes in an empty folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = CliRunner().invoke(cli, [*words, "--task", "toy"])
    assert done.exit_code == 0, done.output
    return read_from(folder / "reports" / "results.jsonl")


def test_a_training_has_the_curve_of_its_log(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, "train", "--epochs", "2")
    (log,) = tmp_path.glob("runs/train-*/log.csv")
    with log.open(newline="") as file:
        logged = [float(line["validation_accuracy"]) for line in csv.DictReader(file)]
    assert row.curve == logged
    assert len(logged) == 2


def test_only_the_row_of_a_stage_that_trains_has_a_curve(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "run", "finetune", "--epochs", "3", "quantize", "--scheme", "float16")
    base, tuned, rounded = rows
    assert base.curve is rounded.curve is None
    assert tuned.curve is not None
    assert len(tuned.curve) == 3
    assert all(0 <= each <= 1 for each in tuned.curve)


def test_a_link_in_place_of_a_log_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.csv").write_text("epoch,validation_accuracy\n1,0.5\n")
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    assert curve_of(folder) is None
    folder.log.symlink_to(tmp_path / "elsewhere.csv")
    assert curve_of(folder) is None
    folder.log.unlink()
    folder.log.write_text("epoch,validation_accuracy\n1,0.5\n2,0.75\n")
    assert curve_of(folder) == [0.5, 0.75]
    folder.log.write_text("epoch,seconds\n1,600\n")
    assert curve_of(folder) is None
