"""Run a `.tflite` file on images with LiteRT. A separate process is used, because a hostile file can crash it."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from compress import backend
from compress.text import printable

_TELL_EVERY = 250  # images
# Memory limit of LiteRT on Linux: bytes for the process; bytes per thread for activations; and, per thread, a multiple
# of the file size for weights, which LiteRT unpacks and rearranges.
_MEMORY, _MEMORY_EACH, _COPIES = 2**29, 2**28, 8


class CannotRun(ValueError):
    """An interpreter cannot run a file. `why` is its error message, or how its process ended."""

    signal = 0  # the number of the signal that ended its process; 0 if none did

    def __init__(self, engine: str, why: str, signal: int = 0) -> None:
        ValueError.__init__(
            self, f"{engine} cannot run this TFLite file: {why}. Export the file again."
        )
        self.why, self.signal = why, signal


def scores_apart(
    content: bytes, images: np.ndarray, input_scale: float, progress: Callable[[int], None]
) -> np.ndarray:
    """Compute `scores` in a new process.

    Args:
      progress: is called with the number of images done so far.

    Raises:
      ValueError: LiteRT refuses the file, or its process dies.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(content)
        np.save(folder / "images.npy", images)
        run_apart(__name__, folder, repr(float(input_scale)), progress=progress)
        return np.load(folder / "scores.npy", allow_pickle=False)


def run_apart(
    module: str,
    folder: Path,
    *words: str,
    progress: Callable[[int], None] = lambda done: None,
    engine: str = "LiteRT",
) -> None:
    """Run a module in a new process. The module runs an interpreter on the files in `folder`.

    Args:
      progress: is called with the sum of the numbers that the process has printed so far.
      engine: name of the interpreter.

    Raises:
      CannotRun: the process reports that the interpreter refuses the file, or the process dies.
    """
    command = [sys.executable, "-P", "-m", module, str(folder), *words]
    path = os.pathsep.join(p for p in sys.path if p)
    with (
        (folder / "errors").open("wb") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, env=os.environ | {"PYTHONPATH": path}
        ) as process,
    ):
        try:
            done = 0
            for line in process.stdout or ():
                done += int(line) if line.strip().isdigit() else 0
                progress(done)
        except BaseException:
            process.kill()
            raise
    if process.returncode == 0:
        return
    errors_text = (folder / "errors").read_text(errors="replace").split("\n")
    why = next((s for s in reversed(errors_text) if s.strip()), "it gave no reason")
    # The text may quote the file, whose control characters must not reach the terminal.
    why = printable(why).strip(" .")
    if process.returncode < 0:
        why = f"it died of signal {-process.returncode}"
    raise CannotRun(engine, why, max(0, -process.returncode))


def scores(
    content: bytes, images: np.ndarray, input_scale: float, done: Callable[[int], None]
) -> np.ndarray:
    """The file's output for every image, one image at a time, on one thread per processor.

    Args:
      images: uint8 [n, h, w, c], or float32 features [n, ...].
      input_scale: the file takes float32 pixel * input_scale. An integer input takes this value in quantized form.
      done: is called, from several threads, with the number of images done since its last call.

    Returns:
      float32 [n, classes]; a quantized output is dequantized.
    """
    threads = _threads(images)
    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(
            lambda part: _scores(content, part, input_scale, done),
            np.array_split(images, threads),
        )
        return np.concatenate(list(parts))


def _threads(images: np.ndarray) -> int:
    return max(1, min(os.cpu_count() or 1, len(images)))


def inputs(
    images: np.ndarray, dtype: np.dtype[Any], scale: float, zero_point: int, input_scale: float
) -> Iterator[np.ndarray]:
    """Yield the input array of the file for each image, or for each example of features."""
    if images.dtype == np.uint8:
        table = pixel_table(dtype, scale, zero_point, input_scale)
        return (table[image] for image in images)
    seen = (image * np.float32(input_scale) for image in images)
    return (codes(dtype, scale, zero_point, each) for each in seen)


def pixel_table(
    dtype: np.dtype[Any], scale: float, zero_point: int, input_scale: float
) -> np.ndarray:
    """The input of the file for each pixel value: `dtype` [256].

    An 8-bit input of scale 1/255 and zero point -128 takes the raw pixel minus 128:

    >>> pixel_table(np.dtype(np.int8), 1 / 255, -128, 1 / 255)[[0, 1, 255]].tolist()
    [-128, -127, 127]
    """
    seen = np.arange(256, dtype=np.uint8) * np.float32(input_scale)  # as in training
    return codes(dtype, scale, zero_point, seen)


def codes(dtype: np.dtype[Any], scale: float, zero_point: int, seen: np.ndarray) -> np.ndarray:
    """Convert the float32 values that a model sees to the type of the file's input: `dtype` of the same shape.

    >>> codes(np.dtype(np.int8), 0.5, 3, np.float32([-100, 0, 0.9])).tolist()
    [-128, 3, 5]
    """
    if dtype.kind == "f":
        return seen.astype(dtype)
    if scale == 0:
        raise ValueError(f"its {dtype} input has no scale")
    steps = np.rint(seen / np.float64(scale)) + zero_point
    return steps.clip(np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)


def _scores(
    content: bytes, images: np.ndarray, input_scale: float, done: Callable[[int], None]
) -> np.ndarray:
    # One thread per interpreter: with several interpreters at once this is faster, and it fixes the order of sums.
    interpreter = backend.litert().Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    input_details = interpreter.get_input_details()[0]
    output_details = interpreter.get_output_details()[0]
    (scale, zero_point), kind = input_details["quantization"], np.dtype(input_details["dtype"])
    given = inputs(images, kind, scale, zero_point, input_scale)
    outputs = np.empty(
        (len(images), int(np.prod(output_details["shape"]))), output_details["dtype"]
    )
    for index, seen in enumerate(given):
        interpreter.set_tensor(input_details["index"], seen[None])
        interpreter.invoke()
        outputs[index] = interpreter.get_tensor(output_details["index"]).reshape(-1)
        if (index + 1) % _TELL_EVERY == 0:
            done(_TELL_EVERY)
    done(len(images) % _TELL_EVERY)
    if outputs.dtype.kind == "f":
        return outputs.astype(np.float32)
    scale, zero_point = output_details["quantization"]
    return ((outputs.astype(np.float64) - zero_point) * scale).astype(np.float32)


def limit_memory(content: bytes, threads: int) -> None:
    """Limit the memory of this process by the size of the file. A number in a hostile file can ask for any amount."""
    if sys.platform != "linux":
        return
    most = _MEMORY + threads * (_MEMORY_EACH + _COPIES * len(content))
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _main(folder: Path, input_scale: float) -> None:
    images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
    content = (folder / "model.tflite").read_bytes()
    limit_memory(content, _threads(images))

    def done(count: int) -> None:
        os.write(1, f"{count}\n".encode())  # one write: lines of several threads do not mix

    with errors_as_exit():
        outputs = scores(content, images, input_scale, done)
    np.save(folder / "scores.npy", outputs)


@contextlib.contextmanager
def errors_as_exit() -> Iterator[None]:
    """If LiteRT raises an error, end this process with its message as the last line."""
    try:
        yield
    except (ValueError, RuntimeError, MemoryError) as error:
        # LiteRT gives no message if it runs out of memory.
        sys.exit(
            " ".join(str(error).split()) or "it takes more memory than a file of its size should"
        )


if __name__ == "__main__":
    _main(Path(sys.argv[1]), float(sys.argv[2]))
