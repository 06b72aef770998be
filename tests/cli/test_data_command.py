"""`compress data`: the splits of a task's data, and what leaks between them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result

from compress.cli.main import cli
from compress.data.preparation import Preparation
from compress.tasks.images import Images
from support.own_images import images


def shown(*words: str) -> Result:
    return CliRunner().invoke(cli, ["data", *words])


def arrays(path: Path, leak: bool) -> Path:
    parts = {name: images(20, seed) for seed, name in enumerate(("train", "validation", "test"))}
    if leak:
        parts["test"][4] = parts["train"][2]
    labels = np.arange(20) % 2
    named = {f"x_{name}": pixels for name, pixels in parts.items()}
    np.savez(path, **named, **{f"y_{name}": labels for name in parts})
    return path


def test_the_splits_are_shown(tmp_path: Path) -> None:
    done = shown("--task", "images", "--data", str(arrays(tmp_path / "own.npz", leak=True)))
    assert done.exit_code == 0, done.output
    assert "  test: 20 images, digest " in done.stdout
    assert "Near-duplicates" not in done.stdout


def test_an_image_in_two_splits_fails_the_check(tmp_path: Path) -> None:
    words = ["--task", "images", "--check", "--results", str(tmp_path / "none.jsonl"), "--data"]
    done = shown(*words, str(arrays(tmp_path / "leaks.npz", leak=True)))
    assert done.exit_code == 1, done.output
    assert "  test in train: 1 images, 5.00 %; 1 identical, 1 by pixel distance, " in done.stdout
    done = shown(*words, str(arrays(tmp_path / "clean.npz", leak=False)))
    assert done.exit_code == 0, done.output
    assert "  test in train: 0 images, 0.00 %; 0 identical" in done.stdout
    assert "no model was measured on both" in done.stdout


def test_pixels_are_prepared_as_other_commands_prepare_them(tmp_path: Path) -> None:
    path = arrays(tmp_path / "own.npz", leak=True)
    words = ["--task", "images", "--data", str(path), "--json"]
    with_mean = ["--mean", "0.5", "--std", "0.25", "--input-scale", "1/255"]
    plain, resized, normalized = (
        json.loads(shown(*words, *more).stdout) for more in ([], ["--resize", "6x6"], with_mean)
    )
    small = Preparation(resize=(6, 6))
    assert resized["data"] == Images(preparation=small).load(path, lambda _: None).name
    assert len({each["data"] for each in (plain, resized, normalized)}) == 3
    done = shown(*words, *with_mean, "--check")
    assert done.exit_code == 1
    assert "--check compares images: leave out --mean and --std" in done.stderr
    done = shown("--task", "toy", "--resize", "6x6")
    assert done.exit_code == 1
    assert "--resize go with --task images" in done.stderr


def test_json_has_the_same_counts(tmp_path: Path) -> None:
    path = str(arrays(tmp_path / "leaks.npz", leak=True))
    done = shown("--task", "images", "--check", "--json", "--data", path)
    record = json.loads(done.stdout)
    assert record["images"] == {"train": 20, "validation": 20, "test": 20}
    found = {(f["images"], f["among"]): f["identical"] for f in record["near_duplicates"]}
    assert found == {("validation", "train"): 0, ("test", "train"): 1, ("test", "validation"): 0}
    assert done.exit_code == 1


def test_missing_data_are_refused_in_one_line(tmp_path: Path) -> None:
    done = shown("--task", "images", "--check", "--data", str(tmp_path / "none.npz"))
    assert done.exit_code == 1
    assert "none.npz" in done.stderr
    assert done.stderr.count("\n") == 1


def test_features_are_shown_and_the_check_refuses_them(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    path = tmp_path / "features.npz"
    parts = {f"x_{name}": features for name in ("train", "validation", "test")}
    np.savez(path, **parts, **{f"y_{name[2:]}": np.arange(20) % 2 for name in parts})
    words = ("--task", "images", "--data", str(path))
    assert shown(*words).exit_code == 0
    done = shown(*words, "--check")
    assert done.exit_code == 1
    assert "--check compares images" in done.stderr
