"""Comparison of the time that files take: LiteRT with XNNPACK, one thread, one input at a time, files in turn."""

from __future__ import annotations

import json
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compress import backend
from compress.tflite import interpreter

WARMUP = 50  # inputs
CONFIDENCE = 0.95
_RESAMPLES = 4000
# Limits of processor time: a file may run forever.
_SECONDS, _SECONDS_EACH = 3600, 5  # for loading the files; for one input


@dataclass(frozen=True)
class Ratio:
    """The median over rounds of the second file's time divided by the first file's time, with its interval."""

    median: float
    low: float  # percentile bootstrap over rounds, with confidence `CONFIDENCE`
    high: float


def milliseconds(files: Sequence[bytes], rounds: int, inputs: int) -> np.ndarray:
    """Mean milliseconds for one input, over `inputs` inputs, of each file in each round: [rounds, files].

    Every round times all files, one after the other. The order is rotated by one in each round.

    Raises:
      CannotRun: LiteRT refuses a file, or its process dies.
      ValueError: the process reaches `limit_seconds`.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, content in enumerate(files):
            (folder / f"{number}.tflite").write_bytes(content)
        try:
            interpreter.run_apart(__name__, folder, str(len(files)), str(rounds), str(inputs))
        except interpreter.CannotRun as error:
            if error.signal != signal.SIGXCPU:
                raise
            raise ValueError(
                f"timing took more than {limit_seconds(len(files), rounds, inputs):,} seconds of processor time, the "
                f"limit for {rounds} rounds of {inputs} inputs: time a network that takes less than {_SECONDS_EACH} "
                "seconds for one input."
            ) from error
        return np.array(json.loads((folder / "times.json").read_text()))


def limit_seconds(files: int, rounds: int, inputs: int) -> int:
    """The limit of processor time for a call of `milliseconds`, in seconds."""
    return _SECONDS + _SECONDS_EACH * files * (WARMUP + rounds * inputs)


def ratio(times: np.ndarray) -> Ratio:
    """The ratio of the second file's time to the first file's time, from times [rounds, 2].

    >>> ratio(np.array([[1.0, 2.0], [2.0, 4.0], [1.0, 2.0]]))
    Ratio(median=2.0, low=2.0, high=2.0)
    """
    ratios = times[:, 1] / times[:, 0]
    drawn = np.random.default_rng(0).integers(0, len(ratios), (_RESAMPLES, len(ratios)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.median(ratios[drawn], axis=1), [tail, 1 - tail])
    return Ratio(float(np.median(ratios)), float(low), float(high))


def _loaded(content: bytes) -> Any:
    runner = backend.litert().Interpreter(model_content=content, num_threads=1)
    runner.allocate_tensors()
    rng = np.random.default_rng(0)
    for details in runner.get_input_details():
        drawn, dtype = rng.random(details["shape"]), np.dtype(details["dtype"])
        if dtype.kind in "iu":
            drawn = np.iinfo(dtype).min + drawn * (np.iinfo(dtype).max - np.iinfo(dtype).min)
        runner.set_tensor(details["index"], drawn.astype(dtype))
    return runner


def _milliseconds(runner: Any, inputs: int) -> float:
    began = time.perf_counter()
    for _ in range(inputs):
        runner.invoke()
    return (time.perf_counter() - began) / inputs * 1e3


def _main(folder: Path, count: int, rounds: int, inputs: int) -> None:
    contents = [(folder / f"{number}.tflite").read_bytes() for number in range(count)]
    interpreter.limit_memory(b"".join(contents), threads=count)
    # Only the soft limit: the hard limit may be lower already, and it would end the process by another signal.
    most = resource.getrlimit(resource.RLIMIT_CPU)[1]
    limit = limit_seconds(count, rounds, inputs)
    limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, most))
    with interpreter.errors_as_exit():
        runners = [_loaded(content) for content in contents]
        for runner in runners:
            _milliseconds(runner, WARMUP)
        times = np.zeros((rounds, count))
        for number in range(rounds):
            for place in np.roll(np.arange(count), number):
                times[number, place] = _milliseconds(runners[place], inputs)
    (folder / "times.json").write_text(json.dumps(times.tolist()))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
