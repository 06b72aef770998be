"""User images run through all commands with the pixel scale of their model, which is never guessed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from baselines.toy import Toy, draw
from compress import backend, registry
from compress.cli.main import cli
from compress.data.dataset import Dataset, Split
from compress.data.images import read
from compress.keras_models.input_scale import takes_raw_pixels
from compress.keras_models.model import KerasModel
from compress.tasks.images import Images, suited
from support.own_images import quiet, save

DRAWN = ("stripes", "columns", "checks")


# The pixel scale of a model


def chain(*layers: Any, shape: tuple[int, ...] = (12, 12, 3)) -> Any:
    k = backend.keras().layers
    return backend.keras().Sequential([k.Input(shape), *layers, k.Flatten(), k.Dense(3)])


def test_a_first_rescaling_layer_shows_that_a_model_takes_raw_pixels() -> None:
    k = backend.keras().layers
    assert takes_raw_pixels(chain(k.Rescaling(1 / 255)))
    assert takes_raw_pixels(chain(k.RandomFlip(), k.Rescaling(1 / 127.5, offset=-1)))
    assert takes_raw_pixels(chain(chain(k.Rescaling(1 / 255))))
    assert not takes_raw_pixels(chain(k.Conv2D(2, 3), k.Rescaling(1 / 255)))
    # From [0, 1] to [-1, 1]: it does not take raw pixels.
    assert not takes_raw_pixels(chain(k.Rescaling(2.0, offset=-1)))
    assert not takes_raw_pixels(chain())


def test_a_rescaling_layer_beside_another_use_of_the_input_is_ignored() -> None:
    k = backend.keras().layers
    image = k.Input((4, 4, 3))
    for way_in in (image, k.RandomFlip()(image)):
        both = k.Add()([k.Rescaling(1 / 255)(way_in), k.Conv2D(3, 1)(way_in)])
        model = backend.keras().Model(image, k.Dense(2)(k.Flatten()(both)))
        assert not takes_raw_pixels(model)


def test_a_rescaling_layer_beside_an_operation_on_the_input_is_ignored() -> None:
    k = backend.keras().layers
    image = k.Input((4, 4, 3))
    both = k.Add()([k.Rescaling(1 / 255)(image), k.Conv2D(3, 1)(image * 0.5)])
    assert not takes_raw_pixels(backend.keras().Model(image, k.Dense(2)(k.Flatten()(both))))


def test_a_channel_reversal_before_the_rescaling_layer_is_allowed() -> None:
    k = backend.keras().layers
    image = k.Input((4, 4, 3))
    x = k.Rescaling(1 / 255)(image[..., ::-1])
    assert takes_raw_pixels(backend.keras().Model(image, k.Dense(2)(k.Flatten()(x))))


def test_a_scale_given_twice_or_never_is_refused(toy_data: Dataset) -> None:
    k = backend.keras().layers
    plain, raw = KerasModel(chain()), KerasModel(chain(k.Rescaling(1 / 255)))
    assert suited(Images(), toy_data, plain, 1 / 255)[0].input_scale == 1 / 255
    assert suited(Images(), toy_data, raw, None)[0].input_scale == 1
    assert suited(Images(), toy_data, raw, 1.0)[0].input_shape == (12, 12, 3)
    with pytest.raises(ValueError, match="add --input-scale 1/255 if"):
        suited(Images(), toy_data, plain, None)
    for task in (Images(), Toy()):
        with pytest.raises(ValueError, match="begins with a Rescaling layer that takes raw pixels"):
            suited(task, toy_data, raw, 1 / 255)


def test_a_model_that_takes_raw_pixels_gets_them_although_the_task_scales_pixels(
    toy_data: Dataset,
) -> None:
    k = backend.keras().layers
    raw = KerasModel(chain(k.Rescaling(1 / 255)))

    class Unscaled(Toy):
        input_scale = 1.0

    task, found = suited(Toy(), toy_data, raw, None)
    assert task.input_scale == 1
    assert found == [
        "pixels are given as they are, from 0 to 255, not multiplied by 1/255 as the task has it: the model begins "
        "with a Rescaling layer that takes them so."
    ]
    unscaled = Unscaled()
    assert suited(unscaled, toy_data, raw, None) == (unscaled, [])


# All commands


def compress(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words))


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """Sixty images of the toy task as PNG files in class folders, and two models for them."""
    pixels, labels = draw(seed=3)
    for number, (image, label) in enumerate(zip(pixels[:60], labels, strict=False)):
        save(tmp_path / "drawn" / DRAWN[label] / f"{number}.png", image)
    backend.keras().utils.set_random_seed(0)
    k = backend.keras().layers
    for name, first in (("raw", [k.Rescaling(1 / 255)]), ("scaled", [])):
        conv = [k.Conv2D(4, 3, activation="relu"), k.MaxPooling2D(4)]
        chain(*first, *conv).save(tmp_path / f"{name}.keras")
    return tmp_path / "drawn"


def test_a_folder_of_images_runs_through_every_command(drawn: Path) -> None:
    words = ["--task", "images", "--data", "drawn"]
    model = ["--model", "scaled.keras", "--input-scale", "1/255"]
    stages = ["prune", "--sparsity", "0.5", "--epochs", "1", "quantize"]
    done = compress("run", *words, *model, "--json", *stages)
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert [r["label"].split()[0] for r in rows] == ["baseline", "prune", "prune"]
    assert {(r["task"], r["data"]) for r in rows} == {("images", read(drawn, quiet).name)}
    assert rows[1]["sparsity"] == pytest.approx(0.5, abs=0.01)
    assert rows[0]["splits"]["test"] == read(drawn, quiet).open_test().digest
    (file,) = Path("runs").glob("prune-sparsity-0.5-epochs-1-????????????/model.keras")
    seen = compress("evaluate", str(file), *words, "--input-scale", "1/255", "--json")
    assert json.loads(seen.stdout)["correct"] == rows[1]["correct"]
    # Another scale is another run: the first run is not reused.
    other = compress("run", *words, *model[:3], "1/128", "round")
    assert "reused" not in other.stderr
    assert compress("report").exit_code == 0


def test_the_scale_is_read_from_the_model_or_must_be_given(drawn: Path) -> None:
    words = ["round", "--task", "images", "--data", "drawn", "--model"]
    assert compress(*words, "raw.keras").exit_code == 0
    asked = compress(*words, "scaled.keras")
    assert asked.exit_code == 1
    assert "nothing says how the model wants its pixels" in asked.stderr
    assert compress(*words, "raw.keras", "--input-scale", "0").exit_code == 2
    assert compress("evaluate", "raw.keras", *words[1:5]).exit_code == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run", "round"], "task images needs --data"),
        (["run", "--data", "drawn", "round"], "task images ships no trained baseline: name a model file with --model."),
        (["train", "--data", "drawn"], "task images has no recipe for training from scratch"),
        (["train", "--data", "drawn", "--recipe", "x"], "task images has no recipe for training"),
    ],
)  # fmt: skip
def test_missing_parts_of_task_images_are_named(
    drawn: Path, words: list[str], sentence: str
) -> None:
    done = compress(words[0], "--task", "images", *words[1:])
    assert done.exit_code == 1
    assert sentence in done.stderr.replace("\n", " ")


@pytest.mark.parametrize(("images", "batch"), [(5000, 64), (1024, 64), (225, 14), (30, 8)])
def test_fewer_images_give_smaller_batches(images: int, batch: int) -> None:
    model = KerasModel(chain(backend.keras().layers.Rescaling(1 / 255)))
    split = Split(np.zeros((images, 12, 12, 3), np.uint8), np.zeros(images, np.int64))
    data = Dataset("few", DRAWN, split, split, lambda: split)
    task, _ = suited(Images(), data, model, None)
    assert task.finetuning.batch_size == batch


def test_building_a_network_for_task_images_is_refused() -> None:
    with pytest.raises(ValueError, match="task images has no architecture to build"):
        registry.task("images").build(width=0.5)
