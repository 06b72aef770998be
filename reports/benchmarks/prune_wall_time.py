"""Time `compress run prune` against a plain tf_keras and tfmot script, as whole processes that alternate.

Usage: python reports/benchmarks/prune_wall_time.py FOLDER_OF_BINARY_BATCHES [--rounds N] [--epochs N]

Run it on a quiet machine. Writes prune_wall_time.json beside itself: every round's wall seconds, CPU seconds (of all
cores together) and peak memory of both, the ratio of each pair and the median ratio, with machine, versions and commit.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from whole_process import keep, timed

from baselines.cifar10.task import Cifar10

HERE = Path(__file__).parent


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("data", type=Path)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--epochs", type=int, default=2)
    asked = words.parse_args()
    data = asked.data.resolve()
    baseline = Cifar10().baseline_path()
    plain = [
        sys.executable,
        str(HERE / "plain_prune.py"),
        str(baseline),
        str(data),
        str(asked.epochs),
    ]
    ours = [sys.executable, "-m", "compress", "run", "--data", str(data)]
    ours += ["--out", "runs", "--results", "results.jsonl", "prune", "--sparsity", "0.5"]
    ours += ["--epochs", str(asked.epochs)]
    pairs = []
    for number in range(asked.rounds):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            pair = {"plain": timed(plain, Path(one)), "compress": timed(ours, Path(other))}
        pairs.append(pair)
        print(number + 1, pair, flush=True)
    ratios = [p["compress"]["seconds"] / p["plain"]["seconds"] for p in pairs]
    result = {
        "what": "wall time of whole processes, compress over plain, alternating",
        "epochs": asked.epochs,
        "pairs": pairs,
        "ratios": [round(r, 3) for r in ratios],
        "median_ratio": round(statistics.median(ratios), 3),
    }
    keep(HERE / "prune_wall_time.json", result)
    print(f"median ratio {result['median_ratio']}: {HERE / 'prune_wall_time.json'}")


if __name__ == "__main__":
    main()
