"""Read the shapes in the header of a Keras file, without reading weights or importing Keras or TensorFlow."""

from __future__ import annotations

import contextlib
import json
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.model_files import h5_copy
from compress.model_files.allowlist import MAX_BYTES
from compress.model_files.sanitize import CONFIG, most_unpacked

Config = dict[str, Any]
# Exceptions that damaged and hostile files cause here.
_DAMAGED = (
    AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Header:
    """The image shape and the number of classes that a file states for its model."""

    image: tuple[int, ...]  # shape of its one input, [h, w, c]
    classes: int | None  # None: the last layer does not state it


def header_of(path: Path) -> Header | None:
    """The header of a `.keras`, `.h5` or `.hdf5` file; None if it cannot be read. Loading then explains why."""
    with contextlib.suppress(*_DAMAGED):
        return _header(json.loads(_text(path)))
    return None


def _text(path: Path) -> str | bytes:
    """The JSON of the architecture in a file."""
    if path.suffix.lower() == ".keras":
        with zipfile.ZipFile(path) as archive, archive.open(CONFIG) as member:
            return member.read(MAX_BYTES + 1)
    import h5py

    with tempfile.TemporaryDirectory() as folder:
        clean = Path(folder) / "clean.h5"
        h5_copy.copy(path, clean, most_unpacked(path))
        with h5py.File(clean) as file:
            text: str | bytes = file.attrs["model_config"]
            return text


def _header(model: Config) -> Header | None:
    config = model["config"]
    layers = config["layers"]
    shapes = [_shape(layer) for layer in layers if layer["class_name"] == "InputLayer"]
    if model["class_name"] == "Sequential":
        shapes = shapes or [_shape(layers[0])]
        last = layers[-1]
    else:
        ends = _names(config["output_layers"])
        last = next((layer for layer in layers if layer["config"]["name"] in ends), None)
        if len(ends) != 1:
            return None
    if len(shapes) != 1 or not all(type(size) is int for size in shapes[0]):
        return None
    units = last["config"].get("units") if last and last["class_name"] == "Dense" else None
    return Header(tuple(shapes[0]), units if type(units) is int else None)


def _shape(layer: Config) -> list[int]:
    """The input shape that a layer declares, without the batch axis."""
    config = layer["config"]
    shape: list[int] = config.get("batch_shape") or config["batch_input_shape"]
    return shape[1:]


def _names(ends: Any) -> set[str]:
    """The layer names in the outputs of a model as Keras writes them: ["scores", 0, 0], or a list of such lists."""
    if isinstance(ends, str):
        return {ends}
    return set().union(*map(_names, ends)) if isinstance(ends, list) else set()
