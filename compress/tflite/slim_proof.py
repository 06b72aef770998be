"""Slim a file only if LiteRT computes the same outputs with the slim file, bit for bit, in a separate process."""

from __future__ import annotations

import io
import resource
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from compress import backend
from compress.tflite import interpreter
from compress.tflite.model import TFLiteModel
from compress.tflite.slim import slim

IMAGES = 16  # maximum number of the given images that are tried
_RANDOM_INPUTS = 8
_SECONDS = 600  # limit of CPU time; a file may run forever
_SEED = 0


def slim_export(content: bytes, images: np.ndarray | None = None) -> TFLiteModel:
    """The slim form of a newly exported file if it is proven to be equal; otherwise the file with a note that says why.

    Args:
      images: float32 [n, h, w, c] as the model sees them; None: random inputs.
    """
    try:
        return TFLiteModel(proven_slim(content, images))
    except ValueError as error:
        return TFLiteModel(
            content, (f"the file is as the converter wrote it, not slimmed: {error}",)
        )


def proven_slim(content: bytes, images: np.ndarray | None = None) -> bytes:
    """The slim form of a file, or the file itself if the slim form is not smaller.

    Outputs are compared with and without XNNPACK. XNNPACK must take the same operators of both files.

    Args:
      images: float32 [n, h, w, c] as the model sees them; the first `IMAGES` are tried. None: random inputs.

    Raises:
      ValueError: the file is damaged, LiteRT cannot run it, or no slim form of it computes the same.
    """
    _check_alone(content)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(content)
        if images is not None:
            np.save(folder / "images.npy", images[:IMAGES])
        interpreter.run_apart(__name__, folder)
        result = folder / "slim.tflite"
        if not result.exists():
            raise ValueError(
                "LiteRT computes something else with the slim form of this TFLite file: keep the file as it is."
            )
        return min(result.read_bytes(), content, key=len)


def _check_alone(content: bytes) -> None:
    """Raise ValueError if a file carries packed files, which a slim file would lose."""
    remedy = "which a slim one would lose: slim the model before they are packed in."
    try:
        packed = zipfile.is_zipfile(io.BytesIO(content))
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"this TFLite file carries packed files that are cut short or damaged, {remedy}"
        ) from error
    if packed:
        raise ValueError(f"this TFLite file carries packed files, such as labels, {remedy}")


def _slim_forms(content: bytes) -> Iterator[bytes]:
    """Yield the possible slim forms, the smallest first."""
    yield slim(content, int4_bias_scales=False)
    yield slim(content)


def _outcome(content: bytes, images: np.ndarray | None) -> list[Any]:
    """All outputs for all inputs as bytes, and the operators that XNNPACK takes; with XNNPACK, then without."""
    litert = backend.litert()
    kinds = litert.OpResolverType
    return [
        _outcome_by(
            litert.Interpreter(
                model_content=content, num_threads=1, experimental_op_resolver_type=kind
            ),
            images,
        )
        for kind in (kinds.AUTO, kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    ]


def _outcome_by(runner: Any, images: np.ndarray | None) -> list[Any]:
    runner.allocate_tensors()
    rng = np.random.default_rng(_SEED)
    found: list[Any] = [
        (list(o["inputs"]), list(o["outputs"]))
        for o in runner._get_ops_details()
        if o["op_name"] == "DELEGATE"
    ]
    for number in range(_RANDOM_INPUTS if images is None else len(images)):
        for place, details in enumerate(runner.get_input_details()):
            given = images[number] if images is not None and place == 0 else None
            runner.set_tensor(details["index"], _input(details, given, rng))
        runner.invoke()
        found += [runner.get_tensor(d["index"]).tobytes() for d in runner.get_output_details()]
    return found


def _input(details: Any, image: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    shape, dtype = tuple(details["shape"]), np.dtype(details["dtype"])
    if image is not None:
        scale, zero_point = details["quantization"]
        codes = np.rint(image / scale) + zero_point if scale else image
        if dtype.kind == "i":
            codes = codes.clip(np.iinfo(dtype).min, np.iinfo(dtype).max)
        return codes.astype(dtype).reshape(shape)
    if dtype.kind == "f":
        return rng.random(shape).astype(dtype)
    if dtype.kind not in "iub":
        raise ValueError(f"it takes {dtype}, for which no random inputs are made")
    # Integers of 32 and 64 bits are probably indices or axes.
    wide = dtype.kind == "b" or dtype.itemsize > 2
    low, high = (0, 1) if wide else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return rng.integers(low, high, shape, np.int64, endpoint=True).astype(dtype)


def _prove(content: bytes, folder: Path) -> None:
    """Write the smallest form that computes the same into `folder`. If no form does, write nothing."""
    images = folder / "images.npy"
    given = np.load(images, allow_pickle=False) if images.exists() else None
    expected = _outcome(content, given)
    for form in _slim_forms(content):
        if _outcome(form, given) == expected:
            (folder / "slim.tflite").write_bytes(form)
            break


def _main(folder: Path) -> None:
    content = (folder / "model.tflite").read_bytes()
    interpreter.limit_memory(content, threads=1)
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    with interpreter.errors_as_exit():
        _prove(content, folder)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
