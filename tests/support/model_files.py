"""Model files for tests: valid files, and ways to edit or damage them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from compress import backend
from compress.model_files.load import load_model

Config = dict[str, Any]


def build(**dense: Any) -> Any:
    """A CNN of a few hundred parameters: float32 [b, 8, 8, 3] -> [b, 3]."""
    layers = backend.keras().layers
    x = image = layers.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2", name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    x = layers.Flatten(name="flat")(x)
    return backend.keras().Model(image, layers.Dense(3, name="logits", **dense)(x))


def images(n: int = 2) -> np.ndarray:
    return np.random.default_rng(0).random((n, 8, 8, 3), dtype=np.float32)


def predict(model: Any) -> np.ndarray:
    return np.array(model(images(), training=False))


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_members(path: Path, content: dict[str, bytes], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def edited(saved: Path, edit: Callable[[Config], Any]) -> Path:
    """A copy in the working folder whose architecture `edit` changed in place, for `.keras` and HDF5 files."""
    path = Path(saved.name)
    if saved.suffix == ".keras":
        content = members(saved)
        config = json.loads(content["config.json"])
        edit(config)
        return write_members(path, content | {"config.json": json.dumps(config).encode()})
    path.write_bytes(saved.read_bytes())
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        edit(config)
        file.attrs["model_config"] = json.dumps(config)
    return path


def layer(config: Config, name: str) -> Config:
    return next(x for x in config["config"]["layers"] if x["config"]["name"] == name)


def refused(path: Path) -> str:
    """The error of `load_model` for a file that it must refuse: one sentence that names the file."""
    with pytest.raises(ValueError, match=path.name) as caught:
        load_model(path)
    said = str(caught.value)
    assert said.isprintable()
    assert said.endswith(".")
    return said


def function(module: str, name: str) -> Config:
    return {"class_name": "function", "module": module, "config": name, "registered_name": name}


def of(module: str | None, name: str, /, **config: Any) -> Config:
    return {"module": module, "class_name": name, "config": config, "registered_name": None}
