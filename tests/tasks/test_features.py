"""Float features run through every stage like images, and models receive them unscaled."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import compress
from compress import backend
from compress.cli.main import cli
from compress.data.dataset import Split
from compress.training.batches import batches
from compress.training.recipe import Recipe

BRIEF = "--epochs 1 --learning-rate 0.01"
STAGES = [
    *(f"{name} {BRIEF}" for name in ("finetune", "prune", "prune-filters", "cluster", "qat", "qat --bits 4")),
    f"distill --student {{file}} {BRIEF}", "quantize", "quantize --scheme int4", "quantize --scheme int16x8",
    "quantize --scheme float16", "quantize --scheme dynamic",
]  # fmt: skip


def spectrogram(k: Any) -> list[Any]:
    conv = k.Conv2D(8, 3, padding="same", activation="relu", name="first")
    return [k.Input((9, 6, 2)), conv, k.Conv2D(8, 1), k.GlobalAveragePooling2D(), k.Dense(3)]


def window(k: Any) -> list[Any]:
    conv = [k.Conv1D(8, 3, name="first"), k.BatchNormalization(momentum=0.9), k.ReLU()]
    return [k.Input((12, 4)), *conv, k.GlobalAveragePooling1D(), k.Dense(3)]


def values(k: Any) -> list[Any]:
    hidden = k.Dense(16, activation="relu", name="first")
    return [k.Input((20,)), hidden, k.Dense(8, activation="relu"), k.Dense(3)]


MODELS = {"spectrogram": spectrogram, "window": window, "values": values}


def drawn(shape: tuple[int, ...], n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Three classes around separate centers; most numbers are below zero and far from [0, 1]."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    noise = rng.normal(-7, 1, (n, *shape))
    return (rng.normal(0, 3, (3, *shape))[labels] + noise).astype(np.float32), labels


def saved(kind: str) -> list[str]:
    """Write data and a briefly trained model; return the command-line arguments that name them."""
    keras = backend.keras()
    keras.utils.set_random_seed(0)
    model = keras.Sequential(MODELS[kind](keras.layers))
    x, y = drawn(model.input_shape[1:])
    np.savez(f"{kind}.npz", x_train=x, y_train=y)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss)
    model.fit(x, y, epochs=15, verbose=0)
    model.save(f"{kind}.keras")
    return ["--task", "images", "--data", f"{kind}.npz", "--model", f"{kind}.keras"]


def run(*words: str) -> Any:
    return CliRunner().invoke(cli, list(words))


@pytest.mark.parametrize(
    ("kind", "stages"),
    [
        ("spectrogram", [f"prune {BRIEF} quantize"]),
        ("window", ["quantize", "quantize --scheme int4"]),
        ("values", [f"finetune {BRIEF}", "quantize --scheme int16x8"]),
        *(pytest.param(kind, STAGES, marks=pytest.mark.slow) for kind in MODELS),
    ],
)
def test_features_run_through_every_stage(kind: str, stages: list[str]) -> None:
    words = saved(kind)
    for stage in stages:
        done = run("run", *words, "--json", *stage.format(file=f"{kind}.keras").split())
        assert done.exit_code == 0, done.output
        baseline, *_, last = json.loads(done.stdout)
        assert baseline["top1"] > 0.7
        assert last["pipeline"]
        if stage.startswith("quantize"):
            assert last["top1"] > baseline["top1"] - 0.1
    assert run("doctor", f"{kind}.keras", "finetune", "quantize").exit_code == 0
    assert run("inspect", f"{kind}.keras", "--sensitivity", *words[:4]).exit_code == 0
    seen = run("evaluate", f"{kind}.keras", "--json", *words[:4])
    assert json.loads(seen.stdout)["correct"] == baseline["correct"]


def test_the_input_of_an_integer_file_has_the_range_of_the_features() -> None:
    words = saved("window")
    done = compress.run("quantize", model=words[-1], task="images", data=words[3])
    (tensor,) = compress.load(done.file).graph.inputs
    (scale,), (zero_point,) = tensor.scales, tensor.zero_points
    low, high = (scale * (code - zero_point) for code in (-128, 127))
    x, _ = drawn((12, 4))
    assert tensor.dtype == "int8"
    assert (low, high) == (pytest.approx(x.min(), abs=2), pytest.approx(x.max(), abs=2))
    # The finished file is measured on the same features.
    seen = compress.evaluate(done.file, task="images", data=words[3])
    assert seen.correct == done.rows[-1].correct


def test_scaling_flipping_and_cropping_features_is_refused() -> None:
    words = saved("window")
    scaled = run("run", *words, "--input-scale", "1/255", "quantize")
    assert scaled.exit_code == 1
    assert "float32 features, which are given to models as they are: leave out" in scaled.stderr
    assert run("evaluate", words[-1], *words[:4], "--input-scale", "1").exit_code == 0
    for field in ("flip=true", "crop=2", "alternating_flip=true"):
        done = run("run", *words, "finetune", "--set", field)
        assert done.exit_code == 1
        assert "for images, and the data are features of shape [12, 4]" in " ".join(
            done.stderr.split()
        )
    split = Split(*drawn((5, 2)))
    recipe = Recipe(summary="", epochs=1, learning_rate=1, batch_size=300, optimizer="sgd")
    seen, _ = next(batches(split, 3, recipe, 1.0, seed=0, done=0))
    assert sorted(map(bytes, seen)) == sorted(map(bytes, split.images))


@pytest.mark.parametrize(
    ("examples", "sentence"),
    [
        (np.zeros((4, 3)), r"float64 of shape \[4, 3\]; .*: cast features to float32"),
        (np.zeros((4, 3), np.float16), "cast features to float32"),
        (np.zeros(4, np.float32), r"float32 of shape \[4\]; expected uint8 pixels"),
        (np.zeros((1, 2, 2, 2, 2), np.float32), r"or \[n, values\]\."),
        (np.zeros((4, 3), np.int64), r"or \[n, values\]\."),
        (np.zeros((4, 3), np.uint8), "expected uint8 pixels"),
        (np.float32([[1, np.nan]]), "NaN or infinite"),
        (np.float32([[np.inf, 0], [-np.inf, 0]]), "NaN or infinite"),
    ],
)
def test_arrays_that_are_neither_images_nor_features_are_refused(
    examples: np.ndarray, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        Split(examples, np.zeros(len(examples), np.int64))


OWN = '''
import numpy as np
from baselines.toy import Toy
from compress.data.dataset import Dataset, Split
from compress import backend
class Windows(Toy):
    """Windows of a sensor."""
    name = "windows"
    input_shape = (12, 4)
    version = 1
    def load(self, path, note):
        x = np.load("window.npz")
        of = lambda part: Split(x["x_train"][part], x["y_train"][part])
        return Dataset("windows", ("a", "b", "c"), of(slice(200)), of(slice(200, 250)), lambda: of(slice(250, 300)))
    def build(self, *, width=1.0, dropout=1.0):
        k = backend.keras().layers
        return backend.keras().Sequential([k.Input((12, 4)), k.Conv1D(8, 3), k.Flatten(), k.Dense(3)])
    @property
    def finetuning(self):
        import dataclasses
        return dataclasses.replace(Toy.finetuning.fget(self), flip=FLIP, crop=0)
    def baseline_path(self):
        return None
'''


@pytest.mark.parametrize("flip", [False, True])
def test_a_custom_task_may_have_features(
    flip: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved("window")
    (tmp_path / f"windows_of_test_{flip}.py").write_text(OWN.replace("FLIP", str(flip)))
    monkeypatch.setattr(sys, "path", [*sys.path])
    task = ["--task", f"windows_of_test_{flip}:Windows"]
    done = run("run", *task, "--model", "window.keras", "--json", "finetune", "--epochs", "1")
    if flip:
        assert done.exit_code == 1
        assert "flip, alternating_flip and crop are for images" in done.stderr
        return
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)[0]["top1"] > 0.7
    trained = run("train", *task, "--epochs", "4", "--json")
    assert trained.exit_code == 0, trained.output
    assert json.loads(trained.stdout)["result"]["top1"] > 0.7
    assert "reused" in run("train", *task, "--epochs", "4").stderr
