"""Handmade rows for tests of the report, with correct images drawn from a seed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from compress.rows.bits import pack_bits
from compress.rows.result import Result
from compress.statistics.significance import wilson_interval

PUBLISHED = Path(__file__).parents[2] / "baselines" / "references" / "published.csv"
IMAGES = 10_000


def digest(text: str) -> str:
    """A digest that depends only on a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def bits(right: int, n: int = IMAGES, seed: int = 0) -> np.ndarray:
    """Bool [n] with `right` true values at positions drawn from a seed."""
    correct = np.zeros(n, bool)
    correct[np.random.default_rng(seed).permutation(n)[:right]] = True
    return correct


def flipped(correct: np.ndarray, lost: int, won: int, seed: int = 0) -> np.ndarray:
    """A copy in which `lost` correct images are wrong and `won` wrong images are correct."""
    rng = np.random.default_rng(seed)
    changed = correct.copy()
    changed[rng.permutation(np.flatnonzero(correct))[:lost]] = False
    changed[rng.permutation(np.flatnonzero(~correct))[:won]] = True
    return changed


def row(
    correct: np.ndarray, stages: list[dict[str, Any]] | None = None, /, **fields: Any
) -> Result:
    """A row of the CNN on CIFAR-10 with these correct images; `fields` replace its values."""
    n, right = len(correct), int(correct.sum())
    low, high = wilson_interval(right, n)
    stages = stages or []
    label = " ".join(
        " ".join([s["stage"], *(f"--{k} {v}" for k, v in s.items() if k != "stage")])
        for s in stages
    )
    fields = {
        "label": label or "baseline",
        "seed": 0,
        "data": "cifar10",
        "model": digest("cnn"),
    } | fields
    made: dict[str, Any] = {
        "top1": right / n, "top1_low": low, "top1_high": high, "cross_entropy": 0.31,
        "test_images": n, "correct": pack_bits(correct), "stored_params": 117_698,
        "nonzero_params": 117_690, "sparsity": 0.0, "kernel_sparsity": {"conv1a": 0.0},
        "macs": 18_432_000, "file_bytes": 480_000, "gzip_bytes": 440_000,
        "weight_types": {"float32": 117_698}, "tflite_digest": digest("file"),
        "run": digest(repr(sorted(fields.items()))), "task": "cifar10",
        "splits": {s: digest(f"{fields['data']} {s}") for s in ("train", "validation", "test")},
        "pipeline": stages, "params": 118_258, "seconds": 1.5, "peak_memory_bytes": 1_200_000_000,
        "notes": [], "commit": "0123456789abcdef0123456789abcdef01234567",
        "command": f"compress run {label}".strip(), "versions": {"keras": "3.15.1", "numpy": "2.4.6"},
        "machine": "x86_64, 2 cores", "time": "2026-01-02T03:04:05+00:00",
    }  # fmt: skip
    if "file_bytes" in fields and "gzip_bytes" not in fields:
        fields |= {"gzip_bytes": fields["file_bytes"] * 9 // 10}
    return Result(**(made | fields))


def pruned(correct: np.ndarray, sparsity: float = 0.5, /, **fields: Any) -> Result:
    """A row of `prune` with sizes and zeros that agree with its sparsity."""
    sizes = {
        "sparsity": sparsity, "gzip_bytes": round(440_000 * (1.1 - sparsity)),
        "nonzero_params": round(117_698 * (1 - sparsity)), "seconds": 61.25, "cross_entropy": 0.33,
    }  # fmt: skip
    if "file_bytes" in fields:
        del sizes["gzip_bytes"]
    return row(correct, [{"stage": "prune", "sparsity": sparsity}], **(sizes | fields))


def example() -> list[Result]:
    """Rows of two data sets: a trained baseline, pruned models with two seeds, a worse one, one without baseline."""
    base = bits(9000)
    sample = bits(880, 1000)
    return [
        row(base, label="train --recipe strong", seconds=5400.0, command="compress train"),
        row(base),
        pruned(flipped(base, 60, 50, 1)),
        pruned(flipped(base, 70, 65, 2), seed=1, cross_entropy=0.335),
        pruned(flipped(base, 400, 100, 3), 0.9),
        row(sample, data="cifar10-sample"),
        pruned(flipped(sample, 12, 9, 4), data="cifar10-sample"),
        pruned(
            bits(7000), 0.75, model=digest("another"), notes=["norm1 has no kernel: left alone."]
        ),
    ]
