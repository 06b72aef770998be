"""A model gets pixels in the scale that it was trained on; if the scale was found by a trial, a note says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from baselines.toy import Toy
from compress import backend
from compress.cli.main import cli
from compress.data.dataset import Dataset
from compress.findings import CannotTreat
from compress.keras_models.input_scale import raw_pixel_layer
from compress.keras_models.model import KerasModel
from compress.stages.finetune import Finetune
from compress.tasks import input_scale
from compress.tasks import view as task_view
from compress.tasks.images import Images, suited
from compress.tasks.view import TaskView
from compress.tflite.model import TFLiteModel


def of_raw_pixels(toy_model: KerasModel) -> KerasModel:
    """The toy's baseline with its first kernel divided by 255: it takes raw pixels, but no layer shows it."""
    model = toy_model.copy()
    first = next(iter(model.kernel_variables().values()))
    first.assign(np.array(first) / 255)
    return model


def of_centred_pixels(toy_model: KerasModel) -> KerasModel:
    """The toy's baseline after a layer that halves and shifts its input: it takes pixels from -1 to 1."""
    keras = backend.keras()
    image = keras.Input(toy_model.input_shape)
    moved = keras.layers.DepthwiseConv2D(1, name="moved")
    # Clipped, so that almost every raw pixel becomes white.
    outputs = toy_model.copy().keras(keras.layers.ReLU(max_value=1)(moved(image)))
    moved.set_weights([np.full_like(moved.get_weights()[0], 0.5), np.full(image.shape[-1], 0.5)])
    return KerasModel(keras.Model(image, outputs))


def guessing(toy_model: KerasModel) -> KerasModel:
    """The toy's baseline with equal scores for all classes."""
    model = toy_model.copy()
    last = list(model.kernel_variables().values())[-1]
    last.assign(np.zeros(last.shape))
    model.keras.layers[-1].bias.assign(np.zeros(3))
    return model


def compress(*words: str) -> Any:
    return CliRunner().invoke(cli, list(words))


def test_a_trial_finds_that_a_model_takes_raw_pixels_and_gives_a_note(
    toy_model: KerasModel, toy_data: Dataset
) -> None:
    raw = of_raw_pixels(toy_model)
    task, found = suited(Toy(), toy_data, raw, None)
    assert task.input_scale == 1
    assert type(task) is Toy
    (sentence,) = found
    assert sentence.startswith(
        "pixels are given as they are, from 0 to 255, not multiplied by 1/255 as the task"
    )
    assert " under 1/255, " in sentence
    assert Toy().input_scale == 1 / 255
    # The scale that the user gives is used, and the task's scale if the model does well under it.
    assert suited(Toy(), toy_data, raw, 1 / 255)[0].input_scale == 1 / 255
    task = Toy()
    assert suited(task, toy_data, toy_model, None) == (task, [])
    assert suited(Images(), toy_data, raw, None)[0].input_scale == 1
    # The toy's model does well under both scales, so the trial is undecided for a task without a scale.
    with pytest.raises(
        ValueError, match=r"nothing says how .* score \S+ under 1/255, \S+ under 1\)"
    ):
        suited(Images(), toy_data, toy_model, None)


def test_a_model_of_pixels_from_minus_1_to_1_is_refused_without_a_given_scale(
    toy_model: KerasModel, toy_data: Dataset
) -> None:
    centred = of_centred_pixels(toy_model)
    for task in (Images(), Toy()):
        with pytest.raises(
            ValueError, match=r"far better on pixels from -1 to 1: .*--mean 0.5 --std 0.5"
        ):
            suited(task, toy_data, centred, None)
    assert suited(Images(), toy_data, centred, 1 / 255)[0].input_scale == 1 / 255


def test_a_trial_does_not_open_the_test_images(toy_model: KerasModel, toy_data: Dataset) -> None:
    def closed() -> Any:
        raise AssertionError("the test images were opened")

    data = Dataset(toy_data.name, toy_data.classes, toy_data.train, toy_data.validation, closed)
    assert suited(Toy(), data, of_raw_pixels(toy_model), None)[0].input_scale == 1


def test_a_model_at_chance_level_under_every_scale_keeps_the_scale_of_the_task(
    toy_model: KerasModel, toy_data: Dataset
) -> None:
    model = guessing(toy_model)
    task = Toy()
    assert suited(task, toy_data, model, None) == (task, [])
    with pytest.raises(ValueError, match=r"nothing says how the model .* --input-scale 1/255 if"):
        suited(Images(), toy_data, model, None)


def test_an_ambiguous_trial_asks_the_user_for_the_scale(
    toy_model: KerasModel, toy_data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from compress.measurement.scale_trial import Trial

    scores = {s: Trial(s, right, 300, 1 / 3) for s, right in ((1 / 255, 160), (1.0, 270))}
    monkeypatch.setattr(input_scale, "trials", lambda *_: scores)
    with pytest.raises(
        ValueError, match=r"53.3% under 1/255, 90.0% under 1: say it with --input-scale 1, or"
    ):
        suited(Toy(), toy_data, toy_model, None)


def test_no_trial_is_made_if_the_task_vouches_or_the_user_gives_a_scale(
    toy_model: KerasModel, toy_data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_scale, "trials", None)  # calling it fails
    assert suited(Toy(), toy_data, toy_model, None, vouched=True)[1] == []
    assert suited(Toy(), toy_data, toy_model, 1.0)[0].input_scale == 1


@pytest.mark.parametrize(
    ("mean", "variance", "raw"),
    [
        ([120.0] * 3, [4000.0] * 3, True),
        ([0.47] * 3, [0.06] * 3, False),
        ([0.0] * 3, [1.0] * 3, False),
    ],
)
def test_a_normalization_layer_with_raw_pixel_statistics_takes_raw_pixels(
    mean: list[float], variance: list[float], raw: bool
) -> None:
    k = backend.keras().layers
    layers = [
        k.Input((4, 4, 3)),
        k.Normalization(mean=mean, variance=variance),
        k.Flatten(),
        k.Dense(2),
    ]
    assert raw_pixel_layer(backend.keras().Sequential(layers)) == ("Normalization" if raw else None)


@pytest.mark.parametrize(("raw", "top"), [(True, 1.0), (False, 1 / 255)])
def test_the_scale_of_a_file_is_read_from_its_input_quantization(
    raw: bool, top: float, toy_model: KerasModel, toy_data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_scale, "trials", None)
    model = of_raw_pixels(toy_model) if raw else toy_model
    seen = toy_data.train.images[:50] * np.float32(top)
    file = model.to_tflite("int8", seen)
    task, found = suited(Toy(), toy_data, file, None)
    assert task.input_scale == pytest.approx(top)
    assert len(found) == raw
    assert suited(Images(), toy_data, file, None)[0].input_scale == pytest.approx(top)


def test_the_scale_of_a_float_file_is_found_by_a_trial(
    toy_model: KerasModel, toy_data: Dataset
) -> None:
    file = TFLiteModel(of_raw_pixels(toy_model).to_tflite().content)
    assert suited(Toy(), toy_data, file, None)[0].input_scale == 1


def test_rows_of_a_model_of_raw_pixels_record_the_scale_and_the_notes(
    toy_model: KerasModel,
) -> None:
    of_raw_pixels(toy_model).save(Path("raw.keras"))
    words = ["run", "--task", "toy", "--model", "raw.keras", "--json", "round"]
    done = compress(*words)
    assert done.exit_code == 0, done.output
    assert done.stderr.count("pixels are given as they are") == 1
    rows = json.loads(done.stdout)
    assert rows[0]["top1"] > 0.9
    assert {row["recorded"]["input_scale"] for row in rows} == {1.0}
    assert all(row["notes"][0].startswith("pixels are given as they are") for row in rows)
    again = compress(*words)
    assert "reused from" in again.stderr
    assert again.stderr.count("pixels are given as they are") == 1
    seen = json.loads(compress("evaluate", "raw.keras", "--task", "toy", "--json").stdout)
    assert (seen["correct"], seen["input_scale"]) == (rows[0]["correct"], 1.0)
    # The scale that the user gives makes another run; its baseline is at chance level, which a note says.
    other = compress("run", "--input-scale", "1/255", *words[1:])
    assert other.exit_code == 0, other.output
    assert other.stderr.count("chance level: top-1 33.33%") == 1
    baseline, rounded = json.loads(other.stdout)
    assert baseline["notes"][0].startswith("chance level: ")
    assert (
        "check the scale of pixels (--input-scale), the order of channels" in baseline["notes"][0]
    )
    assert rounded["notes"] == []
    assert baseline["recorded"]["chance_level"] == pytest.approx(1 / 3, abs=0.02)
    assert "chance level: top-1" in compress("run", "--input-scale", "1/255", *words[1:]).stderr
    on_validation = compress(
        "run", "--input-scale", "1/255", "--measure-on", "validation", *words[1:]
    )
    (note,) = json.loads(on_validation.stdout)[0]["notes"]
    assert note.startswith("chance level: ")
    assert "validation images" in note


def test_a_teacher_with_another_pixel_scale_is_refused_before_any_work(
    toy_model: KerasModel, toy_view: TaskView, monkeypatch: pytest.MonkeyPatch
) -> None:
    k = backend.keras().layers
    raw = of_raw_pixels(toy_model)
    again = backend.keras().Sequential([k.Input((12, 12, 3)), k.Rescaling(255.0), raw.keras])
    layer = backend.keras().Sequential(
        [k.Input((12, 12, 3)), k.Rescaling(1 / 255), toy_model.keras]
    )
    files = {"raw": raw, "again": KerasModel(again), "layer": KerasModel(layer), "own": toy_model}
    files["centred"] = of_centred_pixels(toy_model)
    for name, model in (files | {"guessing": guessing(toy_model)}).items():
        model.save(Path(f"{name}.keras"))
    for name in ("own", "again", "guessing"):
        Finetune(teacher=(f"{name}.keras",)).outline(toy_model, toy_view)
    with pytest.raises(
        CannotTreat,
        match=r"finetune: the teacher raw.keras scores 9\d.\d% on 150 validation images whose pixels are multiplied "
        r"by 1, and 3\d.\d% multiplied by 1/255, as this training gives them: put a Rescaling layer before it",
    ):
        Finetune(teacher=("own.keras", "raw.keras")).outline(toy_model, toy_view)
    with pytest.raises(CannotTreat, match=r"layer.keras begins with a Rescaling layer that takes"):
        Finetune(teacher=("layer.keras",)).outline(toy_model, toy_view)
    with pytest.raises(
        CannotTreat, match=r"centred.keras scores 9\S+ on 150 .* brought to -1 to 1, and"
    ):
        Finetune(teacher=("centred.keras",)).outline(toy_model, toy_view)
    Finetune(teacher=("raw.keras",), alpha=0.0).outline(toy_model, toy_view)  # it does not teach
    monkeypatch.setattr(task_view, "fit", None)
    done = compress("run", "--task", "toy", "finetune", "--teacher", "raw.keras")
    assert done.exit_code == 1
    assert "the teacher raw.keras scores" in " ".join(done.stderr.split())


def test_evaluate_reports_that_a_model_is_at_chance_level(toy_model: KerasModel) -> None:
    guessing(toy_model).save(Path("model.keras"))
    done = compress("evaluate", "model.keras", "--task", "toy")
    assert done.exit_code == 0
    assert "chance level: top-1 33.33% of 600 test images (" in done.stderr
    assert "chance level" not in compress("evaluate", "model.keras", "--help").output


def test_a_training_under_another_scale_is_another_run(toy_data: Dataset) -> None:
    words = ["train", "--task", "toy", "--epochs", "0", "--json"]
    done, raw = (compress(*words, *more) for more in ([], ["--input-scale", "1"]))
    assert raw.exit_code == 0, raw.output
    assert json.loads(raw.stdout)["folder"] != json.loads(done.stdout)["folder"]
    assert "reused" in compress(*words, "--input-scale", "1").stderr
