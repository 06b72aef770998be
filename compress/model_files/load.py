"""load(): a model from an untrusted file. The file is checked first, and Keras sees only the checked copy."""

from __future__ import annotations

import re
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
from compress.model_files.sanitize import MAX_BYTES, copy_h5, copy_keras
from compress.text import printable
from compress.tflite.model import TFLiteModel

# Suffix -> (offset of the magic bytes, the magic bytes, the name of the format).
KINDS = {
    ".keras": (0, b"PK\x03\x04", "a Keras archive"),
    ".h5": (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    ".hdf5": (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    ".tflite": (4, b"TFL3", "a TFLite file"),
}
# Types of the states of random generators: uint32 on some backends, int64 on others.
COUNTERS = ("uint32", "int32", "int64")
# Errors that Keras, h5py and zipfile raise on damaged files; TensorFlow's own errors are added when it is the backend.
DAMAGED: tuple[type[BaseException], ...] = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError,
    TypeError, ValueError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def load(path: Path, trust: bool = False) -> KerasModel | TFLiteModel:
    """The model in a `.keras`, `.h5`, `.hdf5` or `.tflite` file. No code from the file runs.

    Args:
      trust: skip the checks of a Keras file's architecture and weights, and let Keras run code that is in it.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is another kind of file, it is damaged, or it holds something that is refused; the message
        says what to do.
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


def check_fits(
    model: KerasModel | TFLiteModel,
    input_shape: tuple[int, int, int],
    classes: int,
    task: str = "",
) -> None:
    """Raise ValueError unless `model` maps images [h, w, c] of `input_shape` to that many classes.

    Args:
      task: the name of the task that has these images and classes, for the message.
    """
    if isinstance(model, TFLiteModel):
        return  # measuring opens the file and checks it
    inputs, outputs = getattr(model.keras, "inputs", []), getattr(model.keras, "outputs", [])
    wanted = f"{f'task {task}' if task else 'the task'} has {_shape(input_shape)} and {classes}"
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            f"model has {len(inputs)} inputs and {len(outputs)} outputs, {wanted}: "
            "give a model with one input, images, and one output, a number per class."
        )
    (batch, *image), scores = inputs[0].shape, outputs[0].shape
    if batch is not None or None in image:
        raise ValueError(
            f"model takes a batch of shape {_shape(inputs[0].shape)}, {wanted}: build it again with "
            f"Input({input_shape}), image size fixed and number of images open."
        )
    if len(scores) != 2 or (*image, scores[1]) != (*input_shape, classes):
        takes = f"{_shape(image)} images" if len(image) == 3 else f"inputs of shape {_shape(image)}"
        gives = (
            f"{scores[1]} classes" if len(scores) == 2 else f"outputs of shape {_shape(scores[1:])}"
        )
        raise ValueError(
            f"model takes {takes} and gives {gives}; {wanted}: give a model built for these images, "
            "or the task that this model was built for."
        )
    _check_names(model.keras)


def _check_names(model: Any) -> None:
    """Raise ValueError if TensorFlow refuses the name of the model or of a layer. Inputs may have any name."""
    names = [("model", model.name, "[A-Za-z0-9.]")]
    image = backend.keras().layers.InputLayer
    names += [
        ("layer", layer.name, "")
        for layer in every_layer(model)
        if not isinstance(layer, image) and not getattr(layer, "layers", ())
    ]
    for kind, name, begins in names:
        if not re.fullmatch(f"{begins}[A-Za-z0-9_.>-]*", name):
            raise ValueError(
                f"{kind} {name!r:.60} has a name that TensorFlow does not take: call it something of letters, digits, "
                "_, . and -, a letter first, where the model is built."
            )


def _shape(shape: Any) -> str:
    return "x".join("?" if size is None else str(size) for size in shape) or "nothing"


def suffix_of(path: Path) -> str:
    """The suffix of a model file that exists and begins as its format requires. Raises as `load` does."""
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
    """Whether a file is complete by its own directory or length. LiteRT checks a `.tflite` file itself."""
    if suffix == ".keras":
        return zipfile.is_zipfile(path)
    return suffix == ".tflite" or _reaches_its_end(path)


def _reaches_its_end(path: Path) -> bool:
    """Whether an HDF5 file is as long as its header says. This does not use h5py: see `h5_copy`."""
    with path.open("rb") as file:
        head = file.read(64).ljust(64, b"\0")
    version, wide = head[8], head[13] if head[8] < 2 else head[9]  # bytes of an address
    # Addresses of the file's begin, of a table and of its end follow; in version 1 after four bytes more.
    end = {0: 24, 1: 28, 2: 12, 3: 12}.get(version, 64) + 2 * wide
    stored = int.from_bytes(head[end : end + wide], "little")
    return wide in (2, 4, 8) and 0 < stored <= path.stat().st_size


def _remedy_for_folder(folder: Path) -> str:
    """The remedy for a folder, mostly a SavedModel, whose layers Keras 3 cannot load."""
    if not (folder / "saved_model.pb").exists():
        return "Save the model with model.save('model.keras')."
    if not (folder / "keras_metadata.pb").exists():
        return "It is a SavedModel without a Keras model in it: save the model it was exported from as .keras."
    return (
        'It is a SavedModel of Keras 2: where it was made, run `python -c "import tf_keras as k; '
        f"k.models.load_model('{folder.name}').save('model.h5')\"` (with TensorFlow before 2.16, from "
        "tensorflow import keras as k) and give model.h5."
    )


def _built(path: Path, source: Path, safe: bool) -> Any:
    keras = backend.keras()

    def build() -> Any:
        model = keras.saving.load_model(source, compile=False, safe_mode=safe)
        if not isinstance(model, keras.Model):
            raise ValueError(f"it is a {type(model).__name__}, not a model")
        if not getattr(model, "inputs", None):
            raise ValueError("it does not say what it takes: begin the model with an Input layer")
        return model

    return _in_one_sentence(path, build, _save_again())


def _save_again() -> str:
    return f"; save the model again with Keras {backend.keras().__version__}"


def _in_one_sentence(path: Path, action: Callable[[], Any], remedy: str = "") -> Any:
    """The value of `action`, its output suppressed. Errors of a damaged or refused file become one ValueError."""
    errors = DAMAGED
    if backend.uses_tensorflow(backend.keras()):
        errors = (*DAMAGED, backend.tensorflow().errors.OpError)
    # Caught inside, for `stderr_held_back` shows what it held when an exception passes it.
    with backend.stderr_held_back(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return action()
        except errors as error:
            # It may quote the file, whose control characters must not reach the terminal.
            reason = " ".join(printable(str(error) or type(error).__name__).split()).rstrip(".")
            stumbled = isinstance(error, AttributeError | LookupError | TypeError)
    # Keras quotes the whole configuration it could not read, and then says why.
    _, explained, reason = reason.rpartition("Exception encountered: ")
    shown = reason if len(reason) <= 500 else f"{reason[:200]} ..."
    if stumbled and not explained:
        shown = f"Keras would not have written it so ({shown})"
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
