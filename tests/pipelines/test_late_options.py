"""An option of the whole command may stand after a stage, and means the same there; two values of it are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from compress.cli import commands, doctor_command
from compress.cli.main import cli
from compress.pipelines import toml_file
from compress.pipelines.pipeline import Pipeline
from compress.runs.options import RunOptions


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The pipeline label and the shared options of each call of `compress run`, which runs nothing."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def run(pipeline: Pipeline, options: RunOptions) -> None:
        # Each call makes a new task, so its name is compared.
        calls.append((pipeline.label, {**vars(options), "task": options.task.name}))

    monkeypatch.setattr(commands, "run", run)
    return calls


def parsed(line: str, called: list[tuple[str, dict[str, Any]]]) -> tuple[str, dict[str, Any]]:
    result = CliRunner().invoke(cli, line.split())
    assert result.exit_code == 0, result.output
    return called.pop()


@pytest.mark.parametrize(
    "option",
    [
        "--seed 3",
        "--data d.npz",
        "--out elsewhere",
        "--results rows.jsonl",
        "--model m.keras",
        "--task toy",
        "--json",
        "--fresh",
        "--deterministic",
        "--trust",
        "--input-scale 1/255",
    ],
)
def test_an_option_means_the_same_before_and_after_a_stage(option: str, called: Any) -> None:
    asked = parsed(f"run {option} prune --sparsity 0.75 quantize", called)
    assert asked != parsed("run prune --sparsity 0.75 quantize", called)
    assert parsed(f"run prune --sparsity 0.75 {option} quantize", called) == asked
    assert parsed(f"run prune {option} --sparsity 0.75 quantize", called) == asked
    assert parsed(f"run prune --sparsity 0.75 quantize {option}", called) == asked
    assert parsed(f"run {option} prune --sparsity 0.75 quantize {option}", called) == asked


@pytest.mark.parametrize(
    "line", ["run --seed 3 prune --seed 4", "run prune --seed 3 quantize --seed 4"]
)
def test_two_values_of_one_option_are_refused(line: str, called: Any) -> None:
    result = CliRunner().invoke(cli, line.split())
    assert result.exit_code == 2
    assert "Error: --seed is given twice, as 3 and as 4; give it once." in result.stderr
    assert called == []


def test_a_given_default_counts_as_one_of_two_values(called: Any) -> None:
    result = CliRunner().invoke(cli, ["run", "--seed", "0", "prune", "--seed", "4"])
    assert result.exit_code == 2
    assert "--seed is given twice, as 0 and as 4" in result.stderr


def test_value_out_of_range_is_refused_after_a_stage_too(called: Any) -> None:
    result = CliRunner().invoke(cli, ["run", "prune", "--seed", "-1"])
    assert result.exit_code == 2
    assert "'--seed': -1 is not in the range" in result.stderr


def test_help_of_a_stage_in_a_chain_lists_the_options_of_run() -> None:
    shown = CliRunner().invoke(cli, ["run", "prune", "--help"], prog_name="compress").output
    own, whole = shown.split("Options of `compress run`, here or before the first stage:")
    assert "--sparsity" in own
    assert "--seed" not in own
    assert "--seed" in whole
    assert "--deterministic" in whole


def test_options_of_the_doctor_may_follow_its_stages_too(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[doctor_command.DoctorOptions] = []

    def doctor(stages: Any, options: doctor_command.DoctorOptions) -> bool:
        calls.append(options)
        return True

    monkeypatch.setattr(doctor_command, "doctor", doctor)
    for line in ("doctor m.keras --json prune", "doctor m.keras prune --json"):
        assert CliRunner().invoke(cli, line.split()).exit_code == 0
    assert calls[0] == calls[1]
    assert calls[0].as_json


@pytest.mark.parametrize("option", ["--seed 3", "--model m.keras", "--json", "--out elsewhere"])
@pytest.mark.parametrize("line", ["prune {}", "{} prune"])
def test_a_pipeline_file_refuses_options_of_run_and_says_where_they_belong(
    line: str, option: str, tmp_path: Path
) -> None:
    file = tmp_path / "p.toml"
    file.write_text(f"[[pipeline]]\nrun = '{line.format(option)}'\n")
    with pytest.raises(ValueError, match="is not an option of a stage") as caught:
        toml_file.read(file, 0, None)
    assert str(caught.value) == (
        f"{file}, pipeline 1: {option.split()[0]} is not an option of a stage: seeds and models are keys of the file, "
        "as seeds = [0, 1]; give other options of `compress run` on the command line."
    )
