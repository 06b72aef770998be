"""Load a model from an untrusted file. The file is checked first, and Keras sees only the checked copy."""

from __future__ import annotations

import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compress import backend
from compress.keras_models.layers import every_layer
from compress.keras_models.model import KerasModel
from compress.model_files.declared import check_declared, declared
from compress.model_files.file_kind import suffix_of
from compress.model_files.sanitize import copy_h5, copy_keras
from compress.text import printable
from compress.tflite.model import TFLiteModel

# Types of the states of random generators: uint32 on some backends, int64 on others.
COUNTERS = ("uint32", "int32", "int64")
# Errors that Keras, h5py and zipfile raise on damaged files; TensorFlow's own errors are added when it is the backend.
DAMAGED: tuple[type[BaseException], ...] = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError,
    TypeError, ValueError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def load_model(path: Path, trust: bool = False) -> KerasModel | TFLiteModel:
    """The model in a `.keras`, `.h5`, `.hdf5` or `.tflite` file. No code from the file runs, except with `trust`.

    Args:
      trust: skip the checks of a Keras file's architecture and weights, and let Keras run code from the file.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is of another kind, is damaged, or holds something that is refused. The message says what
        to do.
    """
    suffix = suffix_of(path)
    if suffix == ".tflite":
        return TFLiteModel.load(path)
    if trust:
        model = _built(path, path, safe=False)
    else:
        copy = copy_keras if suffix == ".keras" else copy_h5
        with tempfile.TemporaryDirectory() as folder:
            clean = Path(folder) / f"model{suffix}"
            content = _in_one_sentence(path, lambda: copy(path, clean))
            legacy = suffix != ".keras"
            sizes = _in_one_sentence(path, lambda: declared(content.config, legacy), _save_again())
            _in_one_sentence(path, lambda: check_declared(sizes, content.numbers))
            model = _built(path, clean, safe=True)
    _check_float32(path, model)
    return KerasModel(model)


def _built(path: Path, source: Path, safe: bool) -> Any:
    keras = backend.keras()

    def build() -> Any:
        model = keras.saving.load_model(source, compile=False, safe_mode=safe)
        if not isinstance(model, keras.Model):
            raise ValueError(f"it is a {type(model).__name__}, not a model")
        if not getattr(model, "inputs", None):
            raise ValueError("it has no input shape: begin the model with an Input layer")
        return model

    return _in_one_sentence(path, build, _save_again())


def _save_again() -> str:
    return f"; save the model again with Keras {backend.keras().__version__}"


def _in_one_sentence(path: Path, action: Callable[[], Any], remedy: str = "") -> Any:
    """Return the value of `action` without its output. Errors of a damaged or refused file become one ValueError."""
    errors = DAMAGED
    if backend.uses_tensorflow(backend.keras()):
        errors = (*DAMAGED, backend.tensorflow().errors.OpError)
    # Errors are caught inside, because `stderr_held_back` prints the held output if an exception leaves it.
    with backend.stderr_held_back(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return action()
        except errors as error:
            # The message may quote the file, whose control characters must not reach the terminal.
            reason = " ".join(printable(str(error) or type(error).__name__).split()).rstrip(".")
            stumbled = isinstance(error, AttributeError | LookupError | TypeError)
    # Keras quotes the whole configuration it could not read, and then says why.
    _, explained, reason = reason.rpartition("Exception encountered: ")
    shown = reason if len(reason) <= 500 else f"{reason[:200]} ..."
    if stumbled and not explained:
        shown = f"Keras does not write such a file ({shown})"
    raise ValueError(f"{path} cannot be loaded: {shown}{remedy}.")


def _check_float32(path: Path, model: Any) -> None:
    used = [(v.path, v.dtype) for v in model.variables if v.dtype not in COUNTERS]
    used += [(t.name, t.dtype) for t in model.inputs]
    used += [(layer.name, layer.compute_dtype) for layer in every_layer(model)]
    for name, dtype in used:
        if dtype != "float32":
            raise ValueError(
                f"{path}: {name!r} works in {dtype}; expected float32 throughout. "
                "Build the model in float32, copy the weights over and save again."
            )
