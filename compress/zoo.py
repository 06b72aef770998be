"""The zoo: trained models that installed packages bring, by name, each with the row that was measured of it.

An entry point of the group `compress.zoos` is a tuple of folders. A model there is a file, and beside it is a `.json`
of the same name, with its row under `result`, and `about`, a sentence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
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
    """Name -> model, sorted by name. ValueError if two have one name."""
    found: dict[str, ZooModel] = {}
    for model in sorted(_all(), key=lambda each: each.name):
        if model.name in found:
            raise ValueError(
                f"two models of the zoo are called {model.name!r}: {found[model.name].file} and {model.file}; "
                "uninstall one of the packages they come from."
            )
        found[model.name] = model
    return found


def named(word: str) -> ZooModel | None:
    """The model that a word `zoo:NAME` names; None if it is another word.

    Raises:
      ValueError: there is no such model in the zoo; the sentence lists those that there are.
    """
    if not word.startswith(PREFIX):
        return None
    known, name = models(), word.removeprefix(PREFIX)
    if name not in known:
        raise ValueError(no_such("zoo model", name, list(known)))
    return known[name]


def file_of(word: str) -> Path:
    """The file that a word names: `zoo:NAME`, or the path itself. ValueError as `named`."""
    model = named(word)
    return model.file if model else Path(word)


def _all() -> Iterator[ZooModel]:
    folders = {
        Path(folder) for point in entry_points(group="compress.zoos") for folder in point.load()
    }
    for folder in sorted(folders):
        for manifest in sorted(folder.glob("*.json")):
            content = json.loads(manifest.read_text())
            for file in map(manifest.with_suffix, SUFFIXES):
                if file.is_file():
                    yield ZooModel(file.stem, file, content.get("about", ""), content["result"])
