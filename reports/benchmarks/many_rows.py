"""Measure seconds and memory of `compress report` on many rows: `python reports/benchmarks/many_rows.py [ROWS]`.

The rows are made up, with 10,000 images each, and stored in a temporary folder.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

IMAGES = 10_000
STEPS = ("baseline", "prune", "quantize", "cluster", "distill")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def row(index: int, rng: np.random.Generator, base: np.ndarray) -> dict[str, object]:
    """A row of a baseline for every thousandth index, and of a model made from the last baseline for the others."""
    family, stage = index // 1000, STEPS[0] if index % 1000 == 0 else STEPS[1 + index % 4]
    correct = base ^ (
        rng.random(IMAGES) < (0.0 if stage == "baseline" else rng.uniform(0.002, 0.1))
    )
    share = 1.0 if stage == "baseline" else float(rng.uniform(0.05, 1.0))
    sparsity = round(0.9 * (1 - share), 4)
    top1 = float(correct.mean())
    width = 1.96 * math.sqrt(top1 * (1 - top1) / IMAGES)
    label = stage if stage == "baseline" else f"{stage} --setting {index % 200}"
    file_bytes = int(480_000 * share) + 500
    return {
        "schema": 2, "run": digest(f"run {index}"), "task": "cifar10", "data": "cifar10", "label": label,
        "splits": {s: digest(s) for s in ("train", "validation", "test")},
        "pipeline": [] if stage == "baseline" else [{"stage": stage, "setting": index % 200, "epochs": 6}],
        "model": digest(f"model {family}"), "params": 118_258, "seed": index // 200 % 5, "seconds": 60.5,
        "peak_memory_bytes": 1_000_000_000, "notes": [], "commit": "0" * 40, "versions": {"keras": "3.15.1"},
        "command": f"compress run {label}", "machine": "made up", "time": "2026-01-02T03:04:05+00:00",
        "top1": top1, "top1_low": max(0.0, top1 - width), "top1_high": min(1.0, top1 + width),
        "cross_entropy": 0.35, "test_images": IMAGES, "correct": base64.b64encode(np.packbits(correct)).decode(),
        "stored_params": 117_698, "nonzero_params": int(117_698 * (1 - sparsity)), "sparsity": sparsity,
        "kernel_sparsity": {f"conv{i}": sparsity for i in range(8)}, "macs": int(18_487_440 * share) + 1,
        "file_bytes": file_bytes, "gzip_bytes": file_bytes * 9 // 10, "weight_types": {"float32": 117_698},
        "tflite_digest": digest(f"file {index}"),
    }  # fmt: skip


def main(count: int) -> None:
    rng = np.random.default_rng(0)
    base = rng.random(IMAGES) < 0.9
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results.jsonl")
        with results.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row(i, rng, base)) + "\n" for i in range(count))
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "compress", "report", "--results", results], check=True
        )
        seconds = time.perf_counter() - begun
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        sizes = {p.name: p.stat().st_size for p in sorted(Path(folder).glob("[ca]*"))}
    took = {"seconds": round(seconds, 1), "cpu_seconds": round(used.ru_utime + used.ru_stime, 1)}
    print(json.dumps({"rows": count, **took, "peak_bytes": used.ru_maxrss * 1024, "bytes": sizes}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
