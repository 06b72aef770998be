"""Time `compress run prune` against a plain tf_keras and tfmot script, whole processes, alternating.

Usage: python reports/benchmarks/prune_wall_time.py FOLDER_OF_BINARY_BATCHES [--rounds N] [--epochs N]

Run it on a quiet machine. Writes prune_wall_time.json beside itself: every round's wall seconds, CPU seconds (of all
cores together) and peak memory of both, the ratios pair by pair and their median, with machine, versions and commit.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from baselines.cifar10.task import Cifar10
from compress.files import write_json
from compress.runs import provenance

HERE = Path(__file__).parent


def timed(words: list[str], folder: Path) -> dict[str, float]:
    """Wall seconds, CPU seconds and peak memory of one process, which must succeed."""
    log = folder / "log.txt"
    began = time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen(words, cwd=folder, stdout=file, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{shlex.join(words)} failed:\n{log.read_text()}")
    return {
        "seconds": round(time.monotonic() - began, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_memory_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }


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
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(HERE / "prune_wall_time.json", result)
    print(f"median ratio {result['median_ratio']}: {HERE / 'prune_wall_time.json'}")


if __name__ == "__main__":
    main()
