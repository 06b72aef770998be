"""Identify the kind of a model file by its suffix and first bytes, and check that the file is complete."""

from __future__ import annotations

import zipfile
from pathlib import Path

from compress.model_files.sanitize import MAX_BYTES

# Suffix -> (offset of the magic bytes, the magic bytes, the name of the format).
KINDS = {
    ".keras": (0, b"PK\x03\x04", "a Keras archive"),
    ".h5": (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    ".hdf5": (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    ".tflite": (4, b"TFL3", "a TFLite file"),
}


def suffix_of(path: Path) -> str:
    """The suffix of a model file that exists and begins as its format requires. Raises the errors of `load_model`."""
    suffix = path.suffix.lower()
    if not path.exists():
        raise FileNotFoundError(
            f"no file {path}; expected a model: {', '.join(KINDS)}. Check the path."
        )
    if path.is_dir():
        raise ValueError(
            f"{path} is a folder; expected a model file: {', '.join(KINDS)}. {_remedy_for_folder(path)}"
        )
    if suffix not in KINDS or not path.is_file():
        raise ValueError(
            f"{path} is not a kind of model file known here; expected {', '.join(KINDS)}. "
            "Save the model with model.save('model.keras')."
        )
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(
            f"{path} has {size:,} bytes; expected at most {MAX_BYTES:,}. Give a smaller model."
        )
    with path.open("rb") as file:
        head = file.read(16)
    start, mark, called = KINDS[suffix]
    if head[start : start + len(mark)] != mark:
        for other, (at, begins, name) in KINDS.items():
            if head[at : at + len(begins)] == begins:
                raise ValueError(
                    f"{path} is {name}, not {called}: rename it to {path.stem}{other}."
                )
        raise ValueError(
            f"{path} is not {called} (it begins with {head[:8]!r}); expected what model.save() "
            "or the TFLite converter wrote. Copy it again, or save the model again."
        )
    if not _opens(path, suffix):
        raise ValueError(
            f"{path} is cut short or damaged; expected {called}, whole. Copy it again."
        )
    return suffix


def _opens(path: Path, suffix: str) -> bool:
    """True if a file is complete according to its directory or length. LiteRT checks a `.tflite` file itself."""
    if suffix == ".keras":
        try:
            return zipfile.is_zipfile(path)
        except zipfile.BadZipFile:  # the archive says that it continues on another disk
            return False
    return suffix == ".tflite" or _reaches_its_end(path)


def _reaches_its_end(path: Path) -> bool:
    """True if an HDF5 file is as long as its header says. This does not use h5py: see `h5_copy`."""
    with path.open("rb") as file:
        head = file.read(64).ljust(64, b"\0")
    version, wide = head[8], head[13] if head[8] < 2 else head[9]  # bytes of an address
    # The addresses of the file's start, of a table and of the file's end follow; in version 1 four bytes later.
    end = {0: 24, 1: 28, 2: 12, 3: 12}.get(version, 64) + 2 * wide
    stored = int.from_bytes(head[end : end + wide], "little")
    return wide in (2, 4, 8) and 0 < stored <= path.stat().st_size


def _describes_layers(graph: Path) -> bool:
    """True if a saved_model.pb describes the layers of a Keras model, as files from before TensorFlow 2.5 do."""
    if not graph.is_file() or graph.stat().st_size > MAX_BYTES:
        return False
    content = graph.read_bytes()
    return b"_tf_keras_" in content and b'"class_name"' in content


def _remedy_for_folder(folder: Path) -> str:
    """The remedy for a folder. It is usually a SavedModel, whose layers Keras 3 cannot load."""
    if not (folder / "saved_model.pb").exists():
        return "Save the model with model.save('model.keras')."
    if not (
        (folder / "keras_metadata.pb").exists() or _describes_layers(folder / "saved_model.pb")
    ):
        return "It is a SavedModel without a Keras model in it: save the model it was exported from as .keras."
    return (
        'It is a SavedModel of Keras 2: where it was made, run `python -c "import tf_keras as k; '
        f"k.models.load_model('{folder.name}').save('model.h5')\"` (with TensorFlow before 2.16, from "
        "tensorflow import keras as k) and give model.h5."
    )
