"""A foreign model trained on normalized pixels is calibrated, trained and measured on such pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import compress
from baselines.toy import draw
from compress import backend
from compress.cli.main import cli
from compress.data.preparation import Preparation
from compress.tasks.images import Images

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WORDS = ["--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225", "--bgr"]


def run(*words: str) -> Any:
    return CliRunner().invoke(cli, list(words))


def seen(pixels: np.ndarray) -> np.ndarray:
    """The input of a model with OpenCV's channel order and torchvision's statistics."""
    return (pixels[..., ::-1].astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)


@pytest.fixture
def model() -> Any:
    """A model trained on normalized pixels by Keras alone; its data are saved to a file."""
    keras = backend.keras()
    keras.utils.set_random_seed(0)
    k = keras.layers
    layers = [k.Conv2D(8, 3, activation="relu"), k.MaxPooling2D(), k.Conv2D(8, 3), k.ReLU()]
    model = keras.Sequential([k.Input((12, 12, 3)), *layers, k.Flatten(), k.Dense(3)])
    x, y = draw(seed=0)
    model.compile(
        keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.fit(seen(x), y, epochs=4, verbose=0)
    model.save("foreign.keras")
    test_x, test_y = draw(seed=1)
    np.savez("drawn.npz", x_train=x, y_train=y, x_test=test_x, y_test=test_y)
    return model


def test_calibration_and_measuring_use_the_normalized_pixels(model: Any) -> None:
    x, y = draw(seed=1)
    exact = float((model.predict(seen(x), verbose=0).argmax(1) == y).mean())
    of_data = ["--task", "images", "--data", "drawn.npz"]
    done = run("run", *of_data, "--model", "foreign.keras", *WORDS, "--json", "quantize")
    assert done.exit_code == 0, done.output
    baseline, int8 = json.loads(done.stdout)
    assert baseline["top1"] == pytest.approx(exact, abs=0.002)
    assert int8["top1"] > exact - 0.02
    assert baseline["notes"] == [
        "images are in the order blue, green, red, multiplied by 1/255, less the mean 0.485,0.456,0.406, "
        "divided by the standard deviation 0.229,0.224,0.225."
    ]
    (file,) = Path("runs").glob("quantize*/model.tflite")
    (tensor,) = compress.load(file).graph.inputs
    (scale,), (zero_point,) = tensor.scales, tensor.zero_points
    ends = [scale * (code - zero_point) for code in (-128, 127)]
    assert ends == pytest.approx([seen(x).min(), seen(x).max()], abs=0.1)
    # The same command again reuses the run, and evaluating the file gives the same numbers.
    assert "reused" in run("run", *of_data, "--model", "foreign.keras", *WORDS, "quantize").stderr
    alone = json.loads(run("evaluate", str(file), *of_data, *WORDS, "--json").stdout)
    assert alone["correct"] == int8["correct"]
    task = Images(preparation=Preparation(mean=MEAN, std=STD, bgr=True))
    assert compress.evaluate(file, task=task, data="drawn.npz").correct == int8["correct"]
    # Without these options the model gets other inputs, which makes another run.
    other = run("run", *of_data, "--model", "foreign.keras", "--input-scale", "1", "quantize")
    assert "reused" not in other.stderr


def test_a_wrong_image_size_is_refused_with_the_resize_option(model: Any) -> None:
    x, y = draw(seed=0)
    np.savez("large.npz", x_train=x.repeat(2, 1).repeat(2, 2), y_train=y)
    words = ["evaluate", "foreign.keras", "--task", "images", "--data", "large.npz"]
    refused = run(*words, *WORDS)
    assert refused.exit_code == 1
    assert "model foreign.keras takes 12x12x3 images" in refused.stderr
    assert "--resize 12x12" in refused.stderr
    assert run(*words, *WORDS, "--resize", "12x12").exit_code == 0


def test_training_with_flip_and_crop_runs_on_normalized_images(model: Any) -> None:
    words = ["run", "--task", "images", "--data", "drawn.npz", "--model", "foreign.keras", *WORDS]
    training = ["finetune", "--epochs", "1", "--learning-rate", "0.001"]
    done = run(*words, *training, "--set", "flip=true", "--set", "crop=1")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--task", "toy", "--mean", "0.5"], 1, "go with --task images, not with task toy"),
        (["--task", "images", "--data", "x.npz", "--mean", "0.5,x"], 2, "not a list of numbers"),
        (["--task", "images", "--data", "x.npz", "--resize", "4x"], 2, "is not a size such as"),
        (["--task", "images", "--data", "x.npz", "--mean", "120"], 1, "add --input-scale 1"),
    ],
)
def test_options_that_contradict_each_other_are_refused_in_a_sentence(
    words: list[str], code: int, sentence: str
) -> None:
    done = run("evaluate", "model.keras", *words)
    assert done.exit_code == code
    assert sentence in " ".join(done.stderr.split())


def test_normalization_options_for_a_model_with_a_rescaling_layer_are_refused() -> None:
    k = backend.keras().layers
    own = backend.keras().Sequential(
        [k.Input((12, 12, 3)), k.Rescaling(1 / 255), k.Flatten(), k.Dense(3)]
    )
    own.save("own.keras")
    x, y = draw(seed=0)
    np.savez("drawn.npz", x_train=x, y_train=y)
    words = ["evaluate", "own.keras", "--task", "images", "--data", "drawn.npz", "--mean", "0.5"]
    done = run(*words)
    assert done.exit_code == 1
    assert "begins with a Rescaling layer that takes raw pixels: leave out --mean" in done.stderr
