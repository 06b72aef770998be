"""The options that commands share are one typed value, whose fields have the names of the options."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from baselines.toy import Toy
from compress.cli import commands, train_command
from compress.cli.main import cli
from compress.cli.options import COMPRESS_OPTIONS, NO_MEASURE, RUN_OPTIONS, run_options
from compress.runs.options import RunOptions

# The values after a command line without options.
UNSAID: dict[str, Any] = {
    "data": None,
    "input_scale": None,
    "seed": 0,
    "deterministic": False,
    "precision": "auto",
    "out": Path("runs"),
    "results": Path("reports/results.jsonl"),
    "fresh": False,
    "no_measure": False,
    "train_on": "train",
    "measured_on": "test",
    "micro_accuracy": False,
    "as_json": False,
    "model": None,
    "trust": False,
    "decided": {},
}


def test_every_option_that_commands_share_is_a_field() -> None:
    fields = {field.name: field for field in dataclasses.fields(RunOptions)}
    options = {option.name for option in (*COMPRESS_OPTIONS, NO_MEASURE)}
    # The options of pixel preparation become a part of the task.
    assert options - {"mean", "std", "bgr", "resize"} == fields.keys() - {"decided"}
    # The defaults in Python are those of the command line.
    said = {f.name: getattr(RunOptions(task=Toy()), f.name) for f in fields.values()}
    assert said.items() >= UNSAID.items()


def test_an_unknown_option_name_raises_a_type_error() -> None:
    values = {str(o.name): None for o in RUN_OPTIONS} | {"task": "toy"}
    assert run_options(values).task.name == "toy"
    with pytest.raises(TypeError, match="'colour'"):
        run_options({**values, "colour": "red"})


@pytest.mark.parametrize("line", ["run prune", "prune", "train"])
def test_commands_make_the_same_options_of_the_same_words(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[RunOptions] = []
    for module, name in ((commands, "run"), (train_command, "train")):
        monkeypatch.setattr(module, name, lambda asked, options: made.append(options))
    done = CliRunner().invoke(cli, [*line.split(), "--task", "toy"])
    assert done.exit_code == 0, done.output
    (options,) = made
    assert isinstance(options.task, Toy)
    assert {**vars(options)} == {"task": options.task, **UNSAID}
