"""Time two `.tflite` files against each other in LiteRT: one thread, one image at a time, alternating.

Usage: python reports/benchmarks/latency.py A.tflite B.tflite [--rounds N] [--images N] [--out FILE]

Run it on a quiet machine. Each round times the same images on A, then on B, both loaded once, in one process apart
from this one. Writes latency.json beside itself: milliseconds an image of every round, their medians, how many times
faster B is than A round by round, the median of that with its quartiles, machine, versions and commit.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from compress import backend
from compress.files import write_json
from compress.runs import provenance
from compress.tflite.flatbuffer import read
from compress.tflite.model import TFLiteModel

HERE = Path(__file__).parent
WARMUP = 50  # images


def interpreter(path: Path) -> Any:
    """LiteRT with the file loaded, on one thread, its input filled with drawn numbers."""
    made = backend.litert().Interpreter(model_content=path.read_bytes(), num_threads=1)
    made.allocate_tensors()
    taken = made.get_input_details()[0]
    drawn = np.random.default_rng(0).random(taken["shape"])
    if np.dtype(taken["dtype"]).kind == "i":
        drawn = drawn * 255 - 128
    made.set_tensor(taken["index"], drawn.astype(taken["dtype"]))
    return made


def milliseconds(made: Any, images: int) -> float:
    """Milliseconds an image, the mean over so many."""
    began = time.perf_counter()
    for _ in range(images):
        made.invoke()
    return (time.perf_counter() - began) / images * 1e3


def timed(one: Path, other: Path, rounds: int, images: int) -> list[list[float]]:
    """For each round the milliseconds an image of both files, the first always first."""
    pair = [interpreter(one), interpreter(other)]
    for made in pair:
        milliseconds(made, WARMUP)
    return [[milliseconds(made, images) for made in pair] for _ in range(rounds)]


def timed_apart(one: Path, other: Path, rounds: int, images: int) -> list[list[float]]:
    """What `timed` gives, from a process of its own: a hostile file can only bring down that one."""
    words = ["--inside", str(one), str(other), "--rounds", str(rounds), "--images", str(images)]
    with tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run(
            [sys.executable, __file__, *words],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        if done.returncode:
            errors.seek(0)
            said = [s for s in errors.read().splitlines() if s.strip()] or ["it gave no reason"]
            raise SystemExit(f"LiteRT cannot run these files: {said[-1].strip()}")
    return [[float(ms) for ms in row] for row in json.loads(done.stdout)]


def described(path: Path) -> dict[str, Any]:
    """What was timed: the file's name, digest, length, multiply-accumulates and type of input."""
    try:
        model = TFLiteModel.load(path)
        graph = read(model.content)
    except (OSError, ValueError) as error:
        raise SystemExit(f"{path} cannot be timed: {error}") from None
    return {
        "file": path.name,
        "digest": model.digest,
        "bytes": len(model.content),
        "macs": sum(operator.macs for operator in graph.operators),
        "input": graph.inputs[0].dtype,
    }


def quartiles(values: list[float]) -> list[float]:
    """The first, second and third quartile, in three decimals."""
    return [round(float(q), 3) for q in np.quantile(values, [0.25, 0.5, 0.75])]


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("one", type=Path)
    words.add_argument("other", type=Path)
    words.add_argument("--rounds", type=int, default=30)
    words.add_argument("--images", type=int, default=200)
    words.add_argument("--out", type=Path, default=HERE / "latency.json")
    words.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = words.parse_args()
    if asked.rounds < 1 or asked.images < 1:
        words.error("--rounds and --images must be 1 or more.")
    if asked.inside:
        print(json.dumps(timed(asked.one, asked.other, asked.rounds, asked.images)))
        return
    files = [described(path) for path in (asked.one, asked.other)]
    rounds = timed_apart(asked.one, asked.other, asked.rounds, asked.images)
    speedups = [one / other for one, other in rounds]
    low, median, high = quartiles(speedups)
    result = {
        "what": "milliseconds an image in LiteRT, one thread, batch 1, the two files in turn",
        "files": files,
        "images_a_round": asked.images,
        "milliseconds": [[round(ms, 4) for ms in row] for row in rounds],
        "median_milliseconds": [
            round(statistics.median(row), 4) for row in zip(*rounds, strict=True)
        ],
        "speedup": median,
        "speedup_quartiles": [low, high],
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(asked.out, result)
    print(f"{asked.other} is {median} times as fast as {asked.one}")
    print(f"(quartiles {low} to {high}, {asked.rounds} rounds): {asked.out}")


if __name__ == "__main__":
    main()
