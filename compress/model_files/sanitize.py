"""A checked copy of a Keras file: its architecture and weights, and nothing that is run or read from elsewhere."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from compress.model_files import allowlist, keras2_config

# Of a file, and of what is in it once unpacked: hundreds of times a small image CNN.
MAX_BYTES = 2**30
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


def copy_keras(path: Path, clean: Path) -> None:
    """Write a new archive of the checked architecture and weights; assets and all else stay behind."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        for member in members:
            name = member.filename.replace("\\", "/")
            if PurePosixPath(name).is_absolute() or ".." in name.split("/") or ":" in name:
                raise ValueError(f"member {member.filename!r:.60} points outside the archive")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"member {name!r:.60} is packed in a way that Keras does not use")
        unpacked = sum(member.file_size for member in members)
        if unpacked > MAX_BYTES:
            raise ValueError(f"it unpacks to {unpacked:,} bytes; expected at most {MAX_BYTES:,}")
        names = [member.filename for member in members]
        for needed in (CONFIG, WEIGHTS):
            if names.count(needed) != 1:
                raise ValueError(f"it has {names.count(needed)} members {needed}; expected one")
        if METADATA in names and b'"keras_version": "2.' in archive.read(METADATA):
            raise ValueError(
                "Keras 2 saved it and Keras 3 cannot read it; with Keras 2, save the model as .h5"
            )
        config = allowlist.parse(archive.read(CONFIG))
        weights = archive.read(WEIGHTS)
    _check_hdf5(io.BytesIO(weights))
    with zipfile.ZipFile(clean, "w") as archive:
        archive.writestr(CONFIG, json.dumps(config))
        archive.writestr(WEIGHTS, weights)


def copy_h5(path: Path, clean: Path) -> None:
    """Copy the file, then put the checked architecture in place of the one it had."""
    import h5py

    shutil.copyfile(path, clean)
    _check_hdf5(clean)
    with h5py.File(clean, "r+") as file:
        text = file.attrs.get("model_config")
        if not isinstance(text, str | bytes):
            raise ValueError(
                "it holds no architecture, only weights; save the whole model with model.save()"
            )
        version = file.attrs.get("keras_version", "2")
        version = version.decode() if isinstance(version, bytes) else str(version)
        keras_3 = version.startswith("3")
        anew = keras2_config.with_modules if keras_3 else keras2_config.from_keras_2
        config = allowlist.parse(text, anew)
        if not keras_3:
            keras2_config.check_keras_2(config)
        file.attrs["model_config"] = json.dumps(config)


def _check_hdf5(source: Path | io.BytesIO) -> None:
    """Raise ValueError if an HDF5 file refers to other files, or holds more than plain numbers of bearable size."""
    import h5py

    total = 0

    def look(name: str, item: Any) -> None:
        nonlocal total
        if isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise ValueError(
                    f"array {name!r:.60} is read from another file; save the model again"
                )
            if item.dtype.kind not in "biuf":
                raise ValueError(
                    f"array {name!r:.60} holds {str(item.dtype)!r:.60}; expected numbers"
                )
            total += item.size * item.dtype.itemsize
            if total > MAX_BYTES:
                raise ValueError(
                    f"its arrays unpack to over {MAX_BYTES:,} bytes; give a smaller model"
                )
        elif isinstance(item, h5py.Group):
            for child in item:
                if not isinstance(item.get(child, getlink=True), h5py.HardLink):
                    raise ValueError(
                        f"{f'{name}/{child}'!r:.60} is a link to elsewhere; save the model again"
                    )

    with h5py.File(source, "r") as file:
        look("", file)
        file.visititems(look)  # each object once, whatever the links make of it
