"""--train-on train+validation: a final training shows every image, is marked in its row, and chooses by no image."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from compress import zoo
from compress.cli.main import cli
from compress.cli.search_options import search
from compress.data.dataset import Split
from compress.rows.jsonl import read_from
from compress.runs import seen
from compress.runs.keys import KeyContext
from compress.stages.finetune import Finetune
from compress.stages.quantize import Quantize
from compress.training import learning_rate, recovery
from compress.training.fit import fit
from compress.training.training_data import TrainingData
from support import tiny_training
from support.tiny_training import Tiny, Watcher

BOTH = ["--train-on", "train+validation"]
TRAIN = ["train", "--task", "toy", "--epochs", "1"]
FINETUNE = ["run", "--task", "toy", "finetune", "--epochs", "1", "--learning-rate", "0.01"]
ROWS = Path("reports/results.jsonl")


def invoked(*words: str) -> Result:
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    return done


def final(watcher: Watcher) -> Any:
    """The data of a training of the tiny task that shows validation images too."""
    return dataclasses.replace(tiny_training.view(None, watcher), train_on="train+validation")


def test_a_final_training_shows_every_image() -> None:
    watcher = Watcher()
    shown = final(watcher).shown
    train, validation = tiny_training.split(0, 66), tiny_training.split(1, 30)
    assert isinstance(shown, Split)
    assert np.array_equal(shown.images, np.concatenate([train.images, validation.images]))
    assert np.array_equal(shown.labels, np.concatenate([train.labels, validation.labels]))


def test_an_epoch_of_a_final_training_has_the_steps_of_all_images() -> None:
    recipe = dataclasses.replace(tiny_training.RECIPES["sgd"], epochs=1, batch_size=32, keep="last")
    for data_of, steps in ((lambda w: tiny_training.view(None, w), 66 // 32), (final, 96 // 32)):
        watcher = Watcher()
        fit(Tiny().build(), recipe, data_of(watcher), seed=0)
        assert watcher.steps == [*range(1, steps + 1)]


def test_learning_rate_trials_train_on_training_images_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = learning_rate.epoch_batches
    shown = []

    def watched(data: TrainingData, *rest: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        shown.append(data.shown.digest)
        return drawn(data, *rest)

    monkeypatch.setattr(learning_rate, "epoch_batches", watched)
    recipe = dataclasses.replace(tiny_training.RECIPES["sgd"], epochs=1, keep="last")
    recovery.fit_recovering(Tiny().build(), recipe, final(Watcher()), seed=0)
    assert set(shown) == {tiny_training.split(0, 66).digest}


@pytest.mark.parametrize("change", [{"keep": "best"}, {"schedule": "plateau"}], ids=str)
def test_a_recipe_that_chooses_by_validation_images_is_refused(change: dict[str, Any]) -> None:
    recipe = dataclasses.replace(tiny_training.RECIPES["sgd"], keep="last", warmup=0.0)
    recipe = dataclasses.replace(recipe, **change)
    (name,) = change
    with pytest.raises(ValueError, match=f"^{name} = .* chooses by validation images"):
        fit(Tiny().build(), recipe, final(Watcher()), seed=0)


@pytest.mark.parametrize("words", [TRAIN, FINETUNE], ids=lambda words: words[0])
def test_a_final_training_is_another_run_and_its_row_records_it(words: list[str]) -> None:
    said = invoked(*words[:3], *BOTH, *words[3:])
    assert "validation images are trained on too" in said.output
    invoked(*words)
    rows = [row for row in read_from(ROWS) if row.label != "baseline"]
    assert [row.trained_on for row in rows] == ["train+validation", "train"]
    assert rows[0].run != rows[1].run
    assert rows[0].curve is None
    assert rows[1].curve
    if words is TRAIN:
        assert "best validation" not in said.output
    # The same words find the same run.
    invoked(*words[:3], *BOTH, *words[3:])
    assert len([row for row in read_from(ROWS) if row.label != "baseline"]) == 2


def test_rows_without_training_are_not_marked_as_trained_on_validation() -> None:
    invoked("run", "--task", "toy", *BOTH, "quantize")
    assert {row.trained_on for row in read_from(ROWS)} == {"train"}


def test_only_stages_that_train_get_another_key(context: Any) -> None:
    keys: KeyContext = context.keys
    both = dataclasses.replace(keys, train_on="train+validation")
    assert keys.of_pipeline([Quantize()], "0") == both.of_pipeline([Quantize()], "0")
    assert keys.of_pipeline([Finetune()], "0") != both.of_pipeline([Finetune()], "0")


def test_rows_made_from_a_final_model_are_marked_as_trained_on_validation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    invoked(*TRAIN, *BOTH)
    (file,) = Path("runs").glob("train*/model.keras")
    row = next(iter(read_from(ROWS)))
    invoked("run", "--task", "toy", "--model", str(file), "quantize")
    assert {each.trained_on for each in read_from(ROWS)} == {"train+validation"}
    kept = Path("kept.keras")
    kept.write_bytes(file.read_bytes())
    assert seen.of_file(kept) == "train"  # nothing says otherwise
    mine = zoo.ZooModel("mine", kept, "", row.record())
    monkeypatch.setattr(zoo, "model_in", {kept: mine}.get)
    assert seen.of_file(kept) == "train+validation"


def test_a_search_from_a_final_model_is_not_told_to_leave_out_an_option_it_lacks() -> None:
    advice = "give a model trained on the training images alone or, except in a search, leave out"
    with pytest.raises(ValueError, match=f"m.keras was trained .* cannot measure it: {advice}"):
        seen.check_file("m.keras", "train+validation", "validation")
    seen.check_file("m.keras", "train+validation", "test")
    assert "--measure-on" not in {word for option in search.params for word in option.opts}


@pytest.mark.parametrize("with_file", [False, True])
def test_a_final_model_cannot_be_measured_on_validation_images(with_file: bool) -> None:
    words = ["run", "--task", "toy", "--measure-on", "validation"]
    if with_file:
        invoked(*TRAIN, *BOTH)
        (file,) = Path("runs").glob("train*/model.keras")
        words += ["--model", str(file)]
    else:
        words += BOTH
    before = ROWS.read_bytes() if ROWS.exists() else b""
    done = CliRunner().invoke(cli, [*words, "quantize"])
    assert done.exit_code == 1
    assert "so they cannot measure it: " in done.output
    assert "leave out --measure-on validation" in done.output
    assert (ROWS.read_bytes() if ROWS.exists() else b"") == before


def test_a_final_model_that_is_not_measured_yet_is_refused_too() -> None:
    invoked(*TRAIN, *BOTH, "--no-measure")
    (file,) = Path("runs").glob("train*/model.keras")
    words = ["run", "--task", "toy", "--measure-on", "validation", "--model", str(file), "quantize"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 1
    assert f"{file} was trained on validation images too, so they cannot" in done.output


def test_a_trained_json_that_names_no_images_means_the_training_images() -> None:
    invoked(*TRAIN, "--no-measure")
    (facts,) = Path("runs").glob("train*/trained.json")
    earlier = json.loads(facts.read_text())
    assert earlier.pop("trained_on") == "train"
    facts.write_text(json.dumps(earlier))
    assert seen.of_file(facts.with_name("model.keras")) == "train"
    assert "trained before, measured now" in invoked(*TRAIN).output


def test_a_student_of_a_final_teacher_is_marked_as_trained_on_validation() -> None:
    invoked(*TRAIN, *BOTH)
    (teacher,) = Path("runs").glob("train*/model.keras")
    words = ["run", "--task", "toy", "distill", "--epochs", "1", "--teacher", str(teacher)]
    before = ROWS.read_bytes()
    done = CliRunner().invoke(cli, [*words[:3], "--measure-on", "validation", *words[3:]])
    assert done.exit_code == 1
    assert f"{teacher} was trained on validation images too, so they cannot" in done.output
    assert ROWS.read_bytes() == before
    invoked(*words)
    said = {row.label: row.trained_on for row in read_from(ROWS) if "--teacher" in row.label}
    assert set(said.values()) == {"train+validation"}
