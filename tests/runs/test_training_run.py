"""The summary of a training comes from its log and its row."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from baselines.cifar10.task import Cifar10
from baselines.toy import Toy
from compress.cli.main import cli
from compress.rows.jsonl import read_from
from compress.runs.context import RunContext
from compress.runs.folder import FinishedRun
from compress.runs.training_run import Training, measured_summary, read_log, summarise
from compress.training.recipe import Recipe
from conftest import Silent

RECIPE = Recipe(summary="", epochs=3, learning_rate=0.1)
ROW: Any = SimpleNamespace(
    cross_entropy=0.5, top1=0.8, top1_low=0.75, top1_high=0.85
)  # what a summary reads of a Result


def epoch(number: int, accuracy: float, cross_entropy: float) -> dict[str, float]:
    return {
        "epoch": number,
        "validation_accuracy": accuracy,
        "validation_cross_entropy": cross_entropy,
    }


def test_best_accuracy_and_best_cross_entropy_have_their_own_epochs() -> None:
    history = [epoch(1, 0.5, 1.0), epoch(2, 0.6, 0.7), epoch(3, 0.7, 0.9)]
    summary = summarise(history, RECIPE, params=7, validation_images=100)
    assert summary["best_validation_cross_entropy"] == 0.7
    assert summary["best_validation_cross_entropy_epoch"] == 2
    assert summary["best_validation_accuracy"] == 0.7
    assert summary["best_validation_accuracy_epoch"] == 3
    low, high = summary["best_validation_accuracy_interval"]
    # Wilson's interval of 70 in 100, from a table.
    assert (round(low, 4), round(high, 4)) == (0.6042, 0.7811)
    measured = measured_summary(
        FinishedRun({"validation": ROW}, {"summary": summary}), "validation"
    )
    assert measured == summary | {
        "validation_accuracy": 0.8,
        "validation_cross_entropy": 0.5,
        "validation_accuracy_interval": [0.75, 0.85],
    }


def test_the_first_of_equal_epochs_is_best() -> None:
    history = [epoch(1, 0.5, 1.0), epoch(2, 0.7, 0.7), epoch(3, 0.7, 0.7)]
    assert summarise(history, RECIPE, 7, 100)["best_validation_accuracy_epoch"] == 2


def test_the_label_is_the_command_line() -> None:
    task = Cifar10()
    assert Training(recipe="strong").label(task) == "train --recipe strong"
    half = task.networks["plain"].with_options({"width": 0.5})
    asked = Training(recipe="published", network=half, epochs=3)
    assert asked.label(task) == "train --recipe published --width 0.5 --epochs 3"
    small = task.networks["resnet"].with_options({"widths": (8, 16, 32), "depth": 14})
    resnet = Training(recipe="strong", network=small, epochs=9)
    words = "train --network resnet --recipe strong --widths 8,16,32 --epochs 9"
    assert resnet.label(task) == words
    assert resnet.folder_name(task, "0" * 64) == (
        "train-network-resnet-recipe-strong-widths-8,16,32-epochs-9-000000000000"
    )


def test_a_folder_name_has_no_characters_that_file_systems_refuse() -> None:
    assert Training(recipe="a/b").folder_name(Toy(), "1" * 64) == "train-recipe-a_b-111111111111"


def test_settings_change_the_recipe_and_are_in_the_label() -> None:
    asked = Training(recipe="strong", epochs=3, settings=("mixup=0.2", "flip=false"))
    words = "train --recipe strong --epochs 3 --set mixup=0.2 --set flip=false"
    assert asked.label(Cifar10()) == words
    recipe, own = asked.resolved(Cifar10()), Cifar10().recipes["strong"]
    assert recipe == dataclasses.replace(own, epochs=3, mixup=0.2, flip=False)


def test_a_setting_that_has_an_option_of_its_own_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^epochs has an option of its own: --epochs\.$"):
        Training(recipe="strong", settings=("epochs=3",)).resolved(Cifar10())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("find_augmentation=true",), "^find_augmentation asks the incoming model of a stage"),
        (("views=1", "mixup=0.2"), "give 2 or more views, or mixup 0"),
    ],
)
def test_a_setting_without_effect_is_refused(settings: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Training(recipe="strong", settings=settings).resolved(Cifar10())
    same = Training(recipe="strong", settings=("find_augmentation=false", "views=1"))
    assert same.resolved(Cifar10()).views == 1


def test_a_training_with_settings_is_another_run(tmp_path: Path) -> None:
    words = ["train", "--task", "toy", "--epochs", "1", "--seed", "3", "--json"]
    words += ["--out", str(tmp_path / "runs"), "--results", str(tmp_path / "rows.jsonl")]
    mixed = [*words, "--set", "mixup=0.20", "--set", "label_smoothing=0.1"]
    outcomes = [CliRunner().invoke(cli, each) for each in (words, mixed)]
    assert [o.exit_code for o in outcomes] == [0, 0], [o.output for o in outcomes]
    rows = read_from(tmp_path / "rows.jsonl")
    assert rows[0].run != rows[1].run
    assert rows[1].label.endswith("--epochs 1 --set mixup=0.2 --set label_smoothing=0.1")
    (manifest,) = (tmp_path / "runs").glob("*mixup*/manifest.json")
    assert json.loads(manifest.read_text())["recipe"]["mixup"] == 0.2


def test_a_wrong_setting_is_refused_in_one_sentence(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["train", "--task", "toy", "--set", "mixpu=0.2"])
    assert done.exit_code == 2
    assert "Invalid value for '--set': no recipe field 'mixpu'" in done.output
    assert "Did you mean 'mixup'?" in done.output


def test_an_unknown_recipe_is_refused_with_the_known_recipes() -> None:
    with pytest.raises(ValueError, match="no recipe 'fast'; recipes here: strong, published"):
        Training(recipe="fast").resolved(Cifar10())


def test_tensorboard_that_is_not_installed_is_refused_before_any_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="--tensorboard needs a package that is not installed"):
        Training(recipe="toy", tensorboard=True).resolved(Toy())


def test_reused_training_has_its_row_in_the_results(context: RunContext) -> None:
    row = Training(recipe="toy", epochs=0).run(context)[1].row
    context.results.unlink()  # as if the process had been killed before it was added
    for _ in range(2):
        assert Training(recipe="toy", epochs=0).run(context)[1].row == row
        assert read_from(context.results) == [row]


def test_a_setting_at_its_default_finds_the_same_training(context: RunContext) -> None:
    asked = Training(recipe="toy", epochs=0)
    folder, finished = asked.run(context)
    same = dataclasses.replace(asked, settings=("flip=false",))
    again, found = same.run(context)
    assert (again, found.row) == (folder, finished.row)
    assert same.keep_unmeasured(context) == folder


def test_the_log_has_every_epoch_even_if_the_checkpoint_log_is_behind(
    context: RunContext, silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compress.training.checkpoint.write_bytes", lambda path, content: None)
    folder, _ = Training(recipe="toy", epochs=1).run(context)
    head, line = (folder / "log.csv").read_text().splitlines()
    assert head.split(",") == list(silent.rows[0])
    assert [float(v) for v in line.split(",")] == list(silent.rows[0].values())


def test_only_whole_rows_of_a_truncated_log_are_read(tmp_path: Path) -> None:
    assert read_log(tmp_path) == []
    (tmp_path / "log.csv").write_text("epoch,loss\n1,0.5\n2")
    assert read_log(tmp_path) == [{"epoch": 1, "loss": 0.5}]


def test_width_builds_a_smaller_network_with_its_own_run(
    context: RunContext, silent: Silent
) -> None:
    narrow = Toy().networks["baseline"].with_options({"width": 0.5})
    whole, half = (
        Training(recipe="toy", network=n, epochs=0).run(context)[1].row for n in (None, narrow)
    )
    # conv1 3*3*3*8+8, norm 4*8, conv2 3*3*8*8+8, logits 8*3+3; then the same with 4 filters.
    assert whole.params == 224 + 32 + 584 + 27
    assert half.params == 112 + 16 + 148 + 15
    again = Training(recipe="toy", network=narrow, epochs=0).run(context)[1].row
    assert again == half
    told = [n.split(":")[0] for n in silent.notes if not n.startswith("chance level: ")]
    assert told == ["train --recipe toy --width 0.5 --epochs 0"]


def test_a_note_says_that_zero_epochs_leave_random_weights_also_on_reuse() -> None:
    sentence = "--epochs 0 trains nothing: these are the random weights that training begins with."
    for epochs in (0, 0, 1):
        words = ["train", "--task", "toy", "--json", "--epochs", str(epochs)]
        done = CliRunner().invoke(cli, words)
        notes = json.loads(done.stdout)["result"]["notes"]
        assert notes[:1] == ([] if epochs else [sentence])
        # A note says that random weights are at chance level.
        assert [n.split(":")[0] for n in notes[1:]] == ([] if epochs else ["chance level"])
        assert (sentence in done.stderr.splitlines()) == (epochs == 0)
