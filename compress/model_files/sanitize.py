"""Write a checked copy of a Keras file: its architecture and weights, without code or links to other files."""

from __future__ import annotations

import json
import shutil
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from compress.model_files import allowlist, extent, h5_copy, keras2_config

# Maximum size of a file, also of its unpacked content: hundreds of times a small image CNN.
MAX_BYTES = 2**30
# Maximum ratio of unpacked to packed size. Keras does not compress its files; weights that are 99 % zeros become 50
# times smaller if packed. ALWAYS_BYTES are always allowed, because a small file may hold only zeros.
MAX_RATIO, ALWAYS_BYTES = 100, 2**24
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


@dataclass(frozen=True)
class Content:
    """The content of the copy: the architecture as Keras will read it, and the number of array elements."""

    config: dict[str, Any]
    numbers: int


def copy_keras(path: Path, clean: Path) -> Content:
    """Write a new archive of the checked architecture and weights. Assets and all other members are left out."""
    packed, weights = clean.with_name("packed.h5"), clean.with_name("weights.h5")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, most_unpacked(path))
            config = allowlist.parse(_begin(archive, CONFIG))
            extent.check_extent(config, path.stat().st_size)
            with archive.open(WEIGHTS) as member, packed.open("wb") as file:
                shutil.copyfileobj(member, file)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"its archive is damaged ({error}); copy it again") from error
    numbers = h5_copy.copy(packed, weights, most_unpacked(path))
    with zipfile.ZipFile(clean, "w") as archive:
        archive.writestr(CONFIG, json.dumps(config))
        archive.write(weights, WEIGHTS)
    return Content(config, numbers)


def _check_members(archive: zipfile.ZipFile, most_bytes: int) -> None:
    """Raise ValueError unless the archive is from Keras 3, has an architecture and weights, and is not too large."""
    members = archive.infolist()
    for member in members:
        name = member.filename.replace("\\", "/")
        if PurePosixPath(name).is_absolute() or ".." in name.split("/") or ":" in name:
            raise ValueError(f"member {member.filename!r:.60} points outside the archive")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"member {name!r:.60} is packed in a way that Keras does not use")
    unpacked = sum(member.file_size for member in members)
    if unpacked > most_bytes:
        raise ValueError(
            f"it unpacks to {unpacked:,} bytes, expected at most {most_bytes:,} for a file of its size; give a smaller "
            "model, or save this one again"
        )
    names = [member.filename for member in members]
    for needed in (CONFIG, WEIGHTS):
        if names.count(needed) != 1:
            raise ValueError(f"it has {names.count(needed)} members {needed}; expected one")
    if METADATA in names and b'"keras_version": "2.' in _begin(archive, METADATA):
        raise ValueError(
            "Keras 2 saved it and Keras 3 cannot read it; with Keras 2, save the model as .h5"
        )


def copy_h5(path: Path, clean: Path) -> Content:
    """Write a new HDF5 file, with the checked architecture in place of the original one."""
    import h5py

    numbers = h5_copy.copy(path, clean, most_unpacked(path))
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
        extent.check_extent(config, path.stat().st_size)
        if not keras_3:
            keras2_config.check_keras_2(config)
        file.attrs["model_config"] = json.dumps(config)
    return Content(config, numbers)


def most_unpacked(path: Path) -> int:
    """Maximum number of bytes of the unpacked content of a file."""
    return min(MAX_BYTES, max(ALWAYS_BYTES, MAX_RATIO * path.stat().st_size))


def _begin(archive: zipfile.ZipFile, name: str) -> bytes:
    """The first bytes of a member, up to the limit for an architecture. The declared size may be false."""
    with archive.open(name) as member:
        return member.read(allowlist.MAX_BYTES + 1)
