"""Measure the gain of a search from a second worker: `python reports/benchmarks/search_workers.py [--rounds N]`.

It runs sixteen trials of the toy task, which all cost the same, by one worker on one processor and by two workers on
two, in turn. Only the time in which trials run counts, not start-up. It writes search_workers.json beside itself.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from whole_process import keep, timed

HERE = Path(__file__).parent
TRIALS = 16
# Two objectives, so that no trial is stopped early; one network and one number of epochs, so that all cost the same.
SPACE = """chains = ["finetune"]

[finetune]
epochs = {epochs}
learning-rate = {{low = 0.0001, high = 0.1, log = true}}
"""


def at_work(jobs: int, epochs: int) -> dict[str, float]:
    """The seconds in which trials ran, and the time and memory of the whole process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "space.toml").write_text(SPACE.format(epochs=epochs))
        words = [sys.executable, "-m", "compress", "search"]
        asked = [
            "--task",
            "toy",
            "--space",
            "space.toml",
            "--trials",
            str(TRIALS),
            "--jobs",
            str(jobs),
        ]
        asked += ["--objective", "top1", "--objective", "file_bytes", "--name", "timed"]
        cores = sorted(os.sched_getaffinity(0))[:jobs]
        took = timed([*words, *asked], folder, cores)
        told = subprocess.run(
            [*words, "--status", "timed", "--json"], cwd=folder, check=True, capture_output=True
        )
        status = json.loads(told.stdout)
    if status["finished"] < TRIALS:
        raise SystemExit(f"only {status['finished']} of {TRIALS} trials were finished: {status}")
    return {"trials": status["finished"], "trial_seconds": status["seconds"], **took}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--epochs", type=int, default=30)
    asked = words.parse_args()
    rounds = []
    for number in range(asked.rounds):
        pair = {f"{jobs} workers": at_work(jobs, asked.epochs) for jobs in (1, 2)}
        one, two = (each["trial_seconds"] / each["trials"] for each in pair.values())
        rounds.append({**pair, "of_ideal": round(one / (2 * two), 3)})
        print(number + 1, rounds[-1], flush=True)
    result = {
        "what": "time of trials by one pinned worker, over twice that by two, per trial",
        "epochs": asked.epochs,
        "rounds": rounds,
        "median_of_ideal": statistics.median(r["of_ideal"] for r in rounds),
    }
    keep(HERE / "search_workers.json", result)
    print(f"{result['median_of_ideal']} of ideal: {HERE / 'search_workers.json'}")


if __name__ == "__main__":
    main()
