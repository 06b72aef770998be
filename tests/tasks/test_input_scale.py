"""A model gets its pixels as it wants them, whoever trained it; where that is found out, it is said."""

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
    """The toy's baseline with its first kernel divided by 255: it takes raw pixels, and no layer says so."""
    model = toy_model.copy()
    first = next(iter(model.kernel_variables().values()))
    first.assign(np.array(first) / 255)
    return model


def of_centred_pixels(toy_model: KerasModel) -> KerasModel:
    """The toy's baseline behind a first layer that halves and shifts what it sees: it takes pixels from -1 to 1."""
    keras = backend.keras()
    image = keras.Input(toy_model.input_shape)
    moved = keras.layers.DepthwiseConv2D(1, name="moved")
    # Clipped, so that raw pixels are white alone.
    outputs = toy_model.copy().keras(keras.layers.ReLU(max_value=1)(moved(image)))
    moved.set_weights([np.full_like(moved.get_weights()[0], 0.5), np.full(image.shape[-1], 0.5)])
    return KerasModel(keras.Model(image, outputs))


def guessing(toy_model: KerasModel) -> KerasModel:
    """The toy's baseline, whose scores are all the same."""
    model = toy_model.copy()
    last = list(model.kernel_variables().values())[-1]
    last.assign(np.zeros(last.shape))
    model.keras.layers[-1].bias.assign(np.zeros(3))
    return model


def compress(*words: str) -> Any:
    return CliRunner().invoke(cli, list(words))


def test_a_trial_finds_raw_pixels_and_says_so(toy_model: KerasModel, toy_data: Dataset) -> None:
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
    # The scale that the user names counts, and so does the task's own where the model does well under it.
    assert suited(Toy(), toy_data, raw, 1 / 255)[0].input_scale == 1 / 255
    task = Toy()
    assert suited(task, toy_data, toy_model, None) == (task, [])
    assert suited(Images(), toy_data, raw, None)[0].input_scale == 1
    # The toy's own model does well under both: for a task without a scale nothing tells.
    with pytest.raises(
        ValueError, match=r"nothing says how .* score \S+ under 1/255, \S+ under 1\)"
    ):
        suited(Images(), toy_data, toy_model, None)


def test_a_model_of_pixels_from_minus_one_to_one_is_not_given_others(
    toy_model: KerasModel, toy_data: Dataset
) -> None:
    centred = of_centred_pixels(toy_model)
    for task in (Images(), Toy()):
        with pytest.raises(
            ValueError, match=r"far better on pixels from -1 to 1: .*--mean 0.5 --std 0.5"
        ):
            suited(task, toy_data, centred, None)
    assert suited(Images(), toy_data, centred, 1 / 255)[0].input_scale == 1 / 255


def test_a_trial_leaves_the_test_images_closed(toy_model: KerasModel, toy_data: Dataset) -> None:
    def closed() -> Any:
        raise AssertionError("the test images were opened")

    data = Dataset(toy_data.name, toy_data.classes, toy_data.train, toy_data.validation, closed)
    assert suited(Toy(), data, of_raw_pixels(toy_model), None)[0].input_scale == 1


def test_a_model_that_guesses_under_every_scale_keeps_that_of_the_task(
    toy_model: KerasModel, toy_data: Dataset
) -> None:
    model = guessing(toy_model)
    task = Toy()
    assert suited(task, toy_data, model, None) == (task, [])
    with pytest.raises(ValueError, match=r"nothing says how the model .* --input-scale 1/255 if"):
        suited(Images(), toy_data, model, None)


def test_a_model_that_is_far_better_under_another_scale_but_not_lost_is_asked_for(
    toy_model: KerasModel, toy_data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from compress.measurement.scale_trial import Trial

    scores = {s: Trial(s, right, 300, 1 / 3) for s, right in ((1 / 255, 160), (1.0, 270))}
    monkeypatch.setattr(input_scale, "trials", lambda *_: scores)
    with pytest.raises(
        ValueError, match=r"53.3% under 1/255, 90.0% under 1: say it with --input-scale 1, or"
    ):
        suited(Toy(), toy_data, toy_model, None)


def test_no_trial_is_made_where_the_task_vouches_or_the_user_says(
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
def test_statistics_of_raw_pixels_say_that_a_model_takes_them(
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
def test_the_quantization_of_an_input_says_what_a_file_takes(
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


def test_a_float_file_is_tried(toy_model: KerasModel, toy_data: Dataset) -> None:
    file = TFLiteModel(of_raw_pixels(toy_model).to_tflite().content)
    assert suited(Toy(), toy_data, file, None)[0].input_scale == 1


def test_rows_of_a_model_of_raw_pixels_say_what_was_done(toy_model: KerasModel) -> None:
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
    # The user's word is another run, and its baseline guesses, which is said.
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


def test_a_teacher_of_other_pixels_is_refused_before_any_work(
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
    Finetune(teacher=("raw.keras",), alpha=0.0).outline(toy_model, toy_view)  # it teaches nothing
    monkeypatch.setattr(task_view, "fit", None)
    done = compress("run", "--task", "toy", "finetune", "--teacher", "raw.keras")
    assert done.exit_code == 1
    assert "the teacher raw.keras scores" in " ".join(done.stderr.split())


def test_evaluate_says_that_a_model_is_at_chance_level(toy_model: KerasModel) -> None:
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
