"""Time training by `fit` against the same training in PyTorch, in turn, in float32 and in bfloat16.

Usage: python reports/benchmarks/training_speed.py PYTHON_WITH_TORCH [--rounds N] [--threads N] [--network plain|r14]...

Run it on a quiet machine: PyTorch's threads use CPU time while they wait for one another. With --threads 1 the CPU time
is meaningful on a busy machine too.

Four processes run for each network. In each round, every process in turn trains 40 steps of 128 images: `compress` as
`fit` does, with augmentation, weight averages, metrics and progress; PyTorch with channels last (`torch_training.py`).
Writes training_speed.json beside itself: images per second and CPU milliseconds per step of every round, and the median
over rounds of the best of `compress` relative to the best of PyTorch.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compress.files import write_json
from compress.runs import provenance

HERE = Path(__file__).parent
STEPS, BATCH = 40, 128
NETWORKS = ("plain", "r14")
KINDS = [(library, p) for library in ("compress", "torch") for p in ("float32", "bfloat16")]


def train(network: str, precision: str) -> None:
    """Train an epoch of `STEPS` steps for each line on standard input, and answer with wall and CPU seconds."""
    import numpy as np

    from baselines.cifar10.networks.resnet import ResNet
    from baselines.cifar10.task import Cifar10
    from compress.data.dataset import Split
    from compress.training.fit import fit
    from compress.training.progress_bars import Quiet
    from compress.training.training_data import TrainingData

    class Turns(Quiet):
        """Progress that times each epoch and waits for the next turn. It does not report the first epoch."""

        began: tuple[float, float] | None = None

        def epoch(self, row: dict[str, float]) -> None:
            if self.began:
                wall, cpu = time.perf_counter() - self.began[0], time.process_time() - self.began[1]
                print(json.dumps({"wall": wall, "cpu": cpu}), flush=True)
            if not sys.stdin.readline():
                os._exit(0)
            self.began = time.perf_counter(), time.process_time()

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (STEPS * BATCH, 32, 32, 3), dtype=np.uint8)
    data = Split(images, rng.integers(0, 10, len(images)))
    few = Split(data.images[:10], data.labels[:10])
    model = Cifar10().build(dropout=0.0) if network == "plain" else ResNet().build()
    recipe = dataclasses.replace(Cifar10().recipes["strong"], epochs=10_000, batch_size=BATCH)
    fit(model, recipe, TrainingData(data, few, 1 / 255, None, Turns(), precision=precision), seed=0)


def spent(process: subprocess.Popen[str]) -> dict[str, float]:
    """Run one turn of a process and return its images per second and CPU milliseconds per step."""
    assert process.stdin
    assert process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{process.args} ended before its turn was over.")
    seconds = json.loads(line)
    return {
        "images_a_second": round(STEPS * BATCH / seconds["wall"], 1),
        "cpu_ms_a_step": round(seconds["cpu"] / STEPS * 1e3, 1),
    }


def rounds_of(
    network: str, torch_python: str, rounds: int, threads: int
) -> list[dict[str, dict[str, float]]]:
    """The speed of every kind of training in each round, without the first round, in which all compile."""
    programs = {
        "compress": [sys.executable, __file__, "--train"],
        "torch": [torch_python, str(HERE / "torch_training.py")],
    }
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[1])}
    environment |= {"OMP_NUM_THREADS": str(threads), "TF_NUM_INTRAOP_THREADS": str(threads)}
    processes = {}
    for library, precision in KINDS:
        words = [*programs[library], network, precision, *([str(STEPS)] * (library == "torch"))]
        processes[f"{library} {precision}"] = subprocess.Popen(
            words, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    try:
        taken = []
        for number in range(1 + rounds):
            taken.append({kind: spent(process) for kind, process in processes.items()})
            print(network, number, taken[-1], flush=True)
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    return taken[1:]


def summary(rounds: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Medians of each kind, and the best of `compress` over PyTorch's best, in images per second and in CPU time."""
    measures = ("images_a_second", "cpu_ms_a_step")
    medians = {
        kind: {m: statistics.median(r[kind][m] for r in rounds) for m in measures}
        for kind in rounds[0]
    }

    def best(of: dict[str, dict[str, float]], library: str, measure: str) -> float:
        values = [value[measure] for kind, value in of.items() if kind.startswith(library)]
        return max(values) if measure == "images_a_second" else 1 / min(values)

    ratios = {
        m: round(statistics.median(best(r, "compress", m) / best(r, "torch", m) for r in rounds), 3)
        for m in measures
    }
    return {"medians": medians, "ours_over_torch": ratios, "rounds": rounds}


def main() -> None:
    if sys.argv[1:2] == ["--train"]:
        train(*sys.argv[2:])
        return
    words = argparse.ArgumentParser()
    words.add_argument("torch_python", help="a Python that has torch and numpy")
    words.add_argument("--rounds", type=int, default=10)
    words.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    words.add_argument("--network", action="append", choices=NETWORKS)
    words.add_argument("--out", type=Path, default=HERE / "training_speed.json")
    asked = words.parse_args()
    version = [asked.torch_python, "-c", "import torch; print(torch.__version__)"]
    torch = subprocess.run(version, capture_output=True, text=True, check=True).stdout.strip()
    result = {
        "what": "training, in turn; ours over PyTorch's best, above 1 if ours is faster",
        "threads": asked.threads,
        "networks": {
            network: summary(rounds_of(network, asked.torch_python, asked.rounds, asked.threads))
            for network in asked.network or NETWORKS
        },
        "machine": provenance.machine(),
        "versions": provenance.versions() | {"torch": torch},
        "commit": provenance.commit(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(asked.out, result)
    for network, found in result["networks"].items():
        print(network, found["ours_over_torch"], found["medians"])


if __name__ == "__main__":
    main()
