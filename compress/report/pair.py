"""The comparison of two measured models on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compress.report import text
from compress.rows.bits import unpack_bits
from compress.rows.measurement import Measurement
from compress.statistics.paired import discordant, equivalence_margin, mcnemar_p, paired_difference
from compress.statistics.significance import SIGNIFICANCE


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two models: its measurement, and the images that it was measured on."""

    name: str
    measured: Measurement
    split_digest: str
    labels: np.ndarray | None = None  # of the images, if they are known
    classes: Sequence[str] | None = None  # names of the classes

    @property
    def correct(self) -> np.ndarray:
        """Which images the model gets right, bool [n]."""
        return unpack_bits(self.measured.correct, self.measured.test_images)


def held_against(a: Side, b: Side) -> dict[str, Any]:
    """The comparison of `a` with `b`: differences are `a` minus `b`, as fractions in [-1, 1].

    Raises:
      ValueError: they were not measured on the same images.
    """
    if a.split_digest != b.split_digest:
        raise ValueError(
            f"{a.name} was measured on {_images(a)}, {b.name} on {_images(b)}: only models measured on the same "
            "images are compared; measure one of them on the data of the other."
        )
    only_a, only_b = discordant(a.correct, b.correct)
    n = a.measured.test_images
    difference, low, high = paired_difference(only_a, only_b, n)
    record: dict[str, Any] = {
        "a": _of(a),
        "b": _of(b),
        "images": n,
        "measured_on": a.measured.measured_on,
        "difference": difference,
        "low": low,
        "high": high,
        "p": mcnemar_p(only_a, only_b),
        "equivalence_margin": equivalence_margin(only_a, only_b, n),
        "only_a_right": only_a,
        "only_b_right": only_b,
        "per_class": _per_class(a, b),
    }
    return {"verdict": verdict(record), **record}


def with_latency(record: dict[str, Any], ratio: Any) -> dict[str, Any]:
    """The comparison, with the time of `a` divided by that of `b`: the median, and the ends of its interval."""
    latency = {"ratio": ratio.median, "low": ratio.low, "high": ratio.high}
    record = record | {"latency": latency}
    return record | {"verdict": verdict(record)}


def verdict(record: dict[str, Any]) -> str:
    """The comparison in a sentence."""
    a, b = record["a"], record["b"]
    interval = text.with_interval(record["difference"], record["low"], record["high"], "+")
    if record["p"] < SIGNIFICANCE:
        how = "more" if record["difference"] > 0 else "less"
        accuracy = f"is {how} accurate than {b['name']}, by {interval} points"
    else:
        within = text.points(record["equivalence_margin"])
        accuracy = (
            f"is not distinguishable from {b['name']} ({interval} points) and the same within "
            f"{within} points"
        )
    share = a["file_bytes"] / b["file_bytes"]
    cost = f"at {text.percent(share)} of its bytes"
    if latency := record.get("latency"):
        interval = f"{text.percent(latency['low'])} to {text.percent(latency['high'])}"
        cost += f" and {text.percent(latency['ratio'])} of its time ({interval}) here"
    return f"{a['name']} {accuracy}, {cost}."


def _of(side: Side) -> dict[str, Any]:
    kept = ("top1", "top1_low", "top1_high", "cross_entropy", "file_bytes", "gzip_bytes")
    fields = (*kept, "arena_bytes", "macs", "sparsity", "tflite_digest")
    return {"name": side.name} | {field: getattr(side.measured, field) for field in fields}


def _per_class(a: Side, b: Side) -> list[dict[str, Any]] | None:
    """For each class, the images that only one model gets right, and the difference; None if labels are not known."""
    labels = a.labels if a.labels is not None else b.labels
    if labels is None:
        return None
    names = a.classes or b.classes or []
    found = []
    for label in np.unique(labels).tolist():
        of = labels == label
        only_a, only_b = discordant(a.correct[of], b.correct[of])
        found.append(
            {
                "class": names[label] if label < len(names) else f"class {label}",
                "images": int(of.sum()),
                "only_a_right": only_a,
                "only_b_right": only_b,
                "difference": (only_a - only_b) / int(of.sum()),
            }
        )
    return found


def _images(side: Side) -> str:
    return f"{side.measured.measured_on} images with digest {text.short(side.split_digest)}"
