"""Run a `.tflite` file with TFLM, in a separate process, so that a hostile file cannot crash this one."""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from compress import backend
from compress.micro.arena import Arena, parsed
from compress.micro.refusal import refusal
from compress.tflite import interpreter
from compress.tflite.flatbuffer import read
from compress.tflite.interpreter import CannotRun

ENGINE = "TFLM"
_ARENAS = (2**20, 2**24, 2**27)  # bytes, tried in turn
_SECONDS = 600  # of processor time for one image; a file may run forever


def is_installed() -> bool:
    """True if tflite-micro, an optional library, is installed."""
    return importlib.util.find_spec("tflite_micro") is not None


def check() -> None:
    """Raise ValueError, with the command that helps, unless tflite-micro is installed."""
    if not is_installed():
        raise ValueError(
            "the interpreter for microcontrollers needs tflite-micro, which is not installed: "
            "pip install 'compress-cnn[micro]'."
        )


def arena(content: bytes) -> Arena:
    """The arena of a file, after one input of zeros.

    Raises:
      CannotRun: TFLM does not run the file; the message says which operator or type is the reason, and what to do.
      ValueError: the file is damaged, or tflite-micro is not installed.
    """
    return Arena(**json.loads(_run(content)["arena.json"]))


def scores(
    content: bytes,
    images: np.ndarray,
    input_scale: float,
    progress: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """The file's output for every image, by TFLM; `tflite.interpreter.scores_apart` gives the output by LiteRT.

    Args:
      images: uint8 [n, h, w, c], or float32 features.
      progress: is called with the number of images done so far.

    Returns:
      float32 [n, classes]; a quantized output is dequantized.

    Raises:
      CannotRun, ValueError: as `arena`.
    """
    processes = max(1, min(os.cpu_count() or 1, len(images)))
    parts, done = np.array_split(images, processes), [0] * processes

    def run(number: int) -> np.ndarray:
        def told(count: int) -> None:
            done[number] = count
            progress(sum(done))

        found = _run(content, parts[number], input_scale, told)
        return np.frombuffer(found["scores"], np.float32).reshape(len(parts[number]), -1)

    with ThreadPoolExecutor(processes) as pool:
        return np.concatenate(list(pool.map(run, range(processes))))


def _run(
    content: bytes,
    images: np.ndarray | None = None,
    input_scale: float = 1.0,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, bytes]:
    check()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(content)
        if images is not None:
            np.save(folder / "images.npy", images)
        try:
            interpreter.run_apart(
                __name__, folder, repr(float(input_scale)), progress=progress, engine=ENGINE
            )
        except CannotRun as error:
            raise refusal(read(content), error.why) from error
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def _loaded(content: bytes) -> Any:
    for size in _ARENAS:
        os.ftruncate(2, 0)  # drops the messages about a smaller arena
        try:
            return backend.tflite_micro().Interpreter.from_bytes(content, arena_size=size)
        except RuntimeError:
            if size == _ARENAS[-1]:
                raise
    raise AssertionError


def _scores(content: bytes, images: np.ndarray, input_scale: float) -> np.ndarray:
    runner = _loaded(content)
    given, gives = runner.get_input_details(0), runner.get_output_details(0)
    form = (np.dtype(given["dtype"]), *_quantization(given))
    outputs = np.empty((len(images), int(np.prod(gives["shape"]))), gives["dtype"])
    for index, seen in enumerate(interpreter.inputs(images, *form, input_scale)):
        runner.set_input(seen[None], 0)
        runner.invoke()
        outputs[index] = runner.get_output(0).reshape(-1)
        os.write(1, b"1\n")
    scale, zero_point = _quantization(gives)
    if outputs.dtype.kind == "f":
        return outputs.astype(np.float32)
    return ((outputs.astype(np.float64) - zero_point) * scale).astype(np.float32)


def _quantization(details: Any) -> tuple[float, int]:
    found = details["quantization_parameters"]
    if not len(found["scales"]):
        return 0.0, 0
    return float(found["scales"][0]), int(found["zero_points"][0])


def _main(folder: Path, input_scale: float) -> None:
    content = (folder / "model.tflite").read_bytes()
    interpreter.limit_memory(content, threads=1)
    images, said = folder / "images.npy", folder / "said"
    real = os.dup(2)
    # TFLM and its recorder write to standard error.
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    try:
        if images.exists():
            given = np.load(images, mmap_mode="r", allow_pickle=False)
            (folder / "scores").write_bytes(_scores(content, given, input_scale).tobytes())
            return
        resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
        runner = _loaded(content)
        details = runner.get_input_details(0)
        runner.set_input(np.zeros(details["shape"], details["dtype"]), 0)
        runner.invoke()
        runner.print_allocations()
        recorded = parsed(said.read_text(errors="replace"))
        (folder / "arena.json").write_text(json.dumps(asdict(recorded)))
    except (RuntimeError, ValueError, MemoryError) as error:
        os.dup2(real, 2)
        sys.exit(_why(said.read_text(errors="replace"), str(error)))


def _why(said: str, error: str) -> str:
    """The first line that TFLM printed, which names the reason; later lines follow from it. If none, `error`."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[0] if lines else " ".join(error.split())


if __name__ == "__main__":
    _main(Path(sys.argv[1]), float(sys.argv[2]))
