"""Rows name the file of their model, unless it is the task's own baseline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from click.testing import CliRunner

import compress
from baselines.toy import Toy
from compress.cli.main import cli
from compress.keras_models.model import KerasModel


def rows_of(*words: str) -> list[dict[str, object]]:
    done = CliRunner().invoke(cli, ["run", "--task", "toy", "--json", *words, "round"])
    assert done.exit_code == 0, done.output
    return list(json.loads(done.stdout))


def doubled(toy_model: KerasModel) -> KerasModel:
    """The toy's baseline with other weights that give the same classes."""
    model = toy_model.copy()
    last = list(model.kernel_variables().values())[-1]
    last.assign(2 * last)
    model.keras.layers[-1].bias.assign(2 * model.keras.layers[-1].bias)
    return model


def test_rows_name_a_model_file_that_is_not_the_tasks_own(toy_model: KerasModel) -> None:
    model = doubled(toy_model)
    model.save(Path("mine.keras"))
    rows = rows_of("--model", "mine.keras")
    assert [(row["model_file"], row["model"]) for row in rows] == [("mine.keras", model.digest)] * 2
    Path("runs/trained-1").mkdir(parents=True)
    shutil.copy("mine.keras", "runs/trained-1/model.keras")
    (row, _) = rows_of("--model", "runs/trained-1/model.keras", "--fresh")
    assert row["model_file"] == "trained-1/model.keras"


def test_the_tasks_own_baseline_needs_no_name() -> None:
    own = Toy().baseline_path()
    assert own is not None
    shutil.copy(own, "copy.keras")
    assert all("model_file" not in row for row in rows_of("--model", "copy.keras"))
    assert all("model_file" not in row for row in rows_of())


def test_rows_of_a_model_in_memory_say_so(toy_model: KerasModel) -> None:
    done = compress.run("round", model=doubled(toy_model), task="toy")
    assert {row.model_file for row in done.rows} == {"a model in memory"}
