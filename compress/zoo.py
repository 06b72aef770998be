"""The zoo: named trained models from installed packages, each with the row of its measurement.

An entry point of the group `compress.zoos` is a tuple of folders. Each model in a folder is a file, with a `.json`
manifest of the same name beside it. The manifest has the row under `result`, and a sentence under `about`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from compress.text import no_such

PREFIX = "zoo:"
SUFFIXES = (".keras", ".tflite", ".h5")


@dataclass(frozen=True)
class ZooModel:
    """A trained model of the zoo."""

    name: str
    file: Path
    about: str
    row: dict[str, Any]


def models() -> dict[str, ZooModel]:
    """Name -> model, sorted by name. ValueError if two models have the same name, or a manifest is damaged."""
    found: dict[str, ZooModel] = {}
    all_models = [_model(file) for file in _files()]
    for model in sorted(all_models, key=lambda each: each.name):
        if model.name in found:
            raise ValueError(
                f"two models of the zoo are called {model.name!r}: {found[model.name].file} and {model.file}; "
                "uninstall one of the packages they come from."
            )
        found[model.name] = model
    return found


def named(word: str) -> ZooModel | None:
    """The model that a word `zoo:NAME` names; None for any other word.

    Raises:
      ValueError: there is no such model in the zoo; the message lists the models of the zoo.
    """
    if not word.startswith(PREFIX):
        return None
    known, name = models(), word.removeprefix(PREFIX)
    if name not in known:
        raise ValueError(no_such("zoo model", name, list(known)))
    return known[name]


def file_of(word: str) -> Path:
    """The file that a word names: `zoo:NAME`, or the path itself. Raises ValueError as `named` does."""
    model = named(word)
    return model.file if model else Path(word)


def model_in(file: Path) -> ZooModel | None:
    """The model of the zoo with this file; None if the file is not in the zoo. No other manifest is read."""
    return _model(file) if file in _files() else None


def _files() -> list[Path]:
    """The model files that have a manifest beside them."""
    folders = {
        Path(folder) for point in entry_points(group="compress.zoos") for folder in point.load()
    }
    manifests = [
        manifest for folder in sorted(folders) for manifest in sorted(folder.glob("*.json"))
    ]
    named = [manifest.with_suffix(suffix) for manifest in manifests for suffix in SUFFIXES]
    return [file for file in named if file.is_file()]


def _model(file: Path) -> ZooModel:
    manifest = file.with_suffix(".json")
    try:
        content = json.loads(manifest.read_bytes())
        about, row = content.get("about", ""), dict(content["result"])
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(
            f"{manifest} is not a manifest of the zoo ({error}); expected a JSON object with a row under 'result': "
            "repair it, or uninstall the package that it comes from."
        ) from error
    return ZooModel(file.stem, file, about, row)
