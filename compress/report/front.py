"""The Pareto front of accuracy against size, and which of its rows to ship."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from compress.report import columns, text
from compress.report.compare import Record

# A file costs nothing if it is not distinguishable from its baseline and shown to be equivalent within this margin.
FREE_WITHIN = 0.01
MOST_STEPS = 3  # at most, that the answer names
Part = tuple[str, str | None]  # a text, and the run that it names, if any


@dataclass(frozen=True)
class Axis:
    """An axis that accuracy is drawn against: a field of a record."""

    field: str
    name: str  # text that follows a value in a sentence
    title: str
    scale: float = 1000  # the value in the record is this times the value in the unit of the title
    shown: Callable[[Any], str] = text.kilobytes
    relative: bool = False  # True if a value is already a share of the baseline's

    def of(self, record: Record) -> float:
        """The value in the unit of the title."""
        return record[self.field] / self.scale


AXES = (
    Axis("file_bytes", "", "File, KB (1 KB = 1000 bytes)"),
    Axis("gzip_bytes", " after gzip", "File after gzip -9, KB"),
    Axis("zstd_bytes", " after zstd", "File after zstd, KB"),
    Axis("xz_bytes", " after xz", "File after xz, KB"),
    Axis(
        "entropy_bytes",
        " of weights, encoded",
        "Weights and biases if each number has a code, at best, KB",
    ),
    Axis("arena_bytes", " of RAM", "RAM on a microcontroller (arena of TFLM), KB"),
    Axis("macs", " multiply-accumulates", "Multiply-accumulates, million", 1e6, text.count),
    Axis(
        "latency",
        " of the baseline's time",
        "Time for an image, % of the baseline's",
        0.01,
        text.percent,
        relative=True,
    ),
)


def axes_of(rows: Sequence[Record]) -> list[Axis]:
    """The axes on which some of the rows differ; the first axis, bytes of the file, is always included."""
    return [
        a for a in AXES if a is AXES[0] or len({r[a.field] for r in rows if r[a.field]}) > 1
    ]  # fmt: skip


def main_axis(rows: Sequence[Record]) -> Axis:
    """The first axis on which a row is smaller than the main baseline; bytes of the file if there is none."""
    base = main_baseline(rows)
    for axis in axes_of(rows) if base else ():
        sizes = [r[axis.field] for r in rows if r["kind"] == "compressed" and r[axis.field]]
        if base and base[axis.field] and min(sizes, default=math.inf) < base[axis.field]:
            return axis
    return AXES[0]


def drawn(rows: Sequence[Record], axis: Axis) -> list[Record]:
    """The rows to draw: those with a value, without training rows of a model whose baseline row is there too."""
    measured = {r["model"] for r in rows if r["label"] == "baseline"}
    return [
        r for r in rows
        if r[axis.field]
        and (r["kind"] == "compressed" or r["label"] == "baseline" or r["model"] not in measured)
    ]  # fmt: skip


def undominated(rows: Sequence[Record], axis: Axis) -> list[Record]:
    """The Pareto front: the rows that no other row beats in both size and accuracy, the largest first.

    Among rows that are equal in both, only the first is on the front.
    """
    found: list[Record] = []
    for r in sorted(rows, key=lambda r: (r[axis.field], -r["top1"])):
        if not found or r["top1"] > found[-1]["top1"]:
            found.append(r)
    return found[::-1]


def numbered(front: Sequence[Record], kept: Record | None, most: int = 8) -> list[Record]:
    """The rows of a front that a picture names: all, or `most` rows spread over it, including `kept`."""
    if len(front) <= most:
        return list(front)
    places = {round(i * (len(front) - 1) / (most - 1)) for i in range(most)}
    if kept is not None and kept in front:
        at = front.index(kept)
        places.remove(min(places, key=lambda p: abs(p - at)))
        places.add(at)
    return [front[i] for i in sorted(places)]


def main_baseline(rows: Sequence[Record]) -> Record | None:
    """The baseline that most rows were made from; in a tie, one labeled "baseline", then the first."""
    counts = Counter(r["model"] for r in rows if r["kind"] == "compressed")
    baselines = [r for r in rows if r["kind"] == "baseline"]
    return max(
        baselines, key=lambda r: (counts[r["model"]], r["label"] == "baseline"), default=None
    )


def costs_nothing(r: Record) -> bool:
    """True if the row is better than its baseline, or not distinguishable and the same within `FREE_WITHIN`."""
    if r["difference"] is None:
        return False
    better = columns.distinguishable(r) and r["difference"] > 0
    margin = r["equivalence_margin"]
    return better or (not columns.distinguishable(r) and margin <= FREE_WITHIN)


def shipped(rows: Sequence[Record], axis: Axis) -> Record | None:
    """The smallest row below the size of the main baseline that costs nothing against it; None if there is none."""
    base = main_baseline(rows)
    free = [
        r for r in rows
        if base and r["model"] == base["model"] and r["kind"] == "compressed" and costs_nothing(r)
        and r[axis.field] and r[axis.field] < (base[axis.field] or math.inf)
    ]  # fmt: skip
    return min(free, key=lambda r: (r[axis.field], -r["top1"]), default=None)


def answer(rows: Sequence[Record], axis: Axis) -> list[Part]:
    """One or two sentences on which file to ship and what each smaller file on the front costs."""
    base, best = main_baseline(rows), shipped(rows, axis)
    if base is None or not any(r["kind"] == "compressed" for r in rows):
        return [("Nothing compressed stands beside its baseline here yet.", None)]
    front = undominated(drawn(rows, axis), axis)
    images = f"these {text.count(base['images'])} {base['split']} images"
    if best is not None:
        told = [("Ship ", None), _named(best), (f": {_size(best, base, axis)}", None)]
        told += [(f", and no cost that {images} show: {_accuracy(best, base)}.", None)]
    else:
        told = [("Nothing smaller here is shown to be as accurate as ", None), _named(base)]
        told += [(f" within {text.points(FREE_WITHIN)} points, on {images}.", None)]
    limit = (best or base)[axis.field] or math.inf
    steps = [r for r in front if r[axis.field] < limit and r is not base]
    if not steps:
        return [*told, (" Nothing smaller is here.", None)] if best else told
    told.append((f" {'Each' if len(steps) > 1 else 'A'} step down costs: ", None))
    for index, r in enumerate(steps[:MOST_STEPS]):
        told += [("; " if index else "", None), _named(r)]
        told.append((f", {axis.shown(r[axis.field])}: {cost(r, base)}", None))
    more = len(steps) - MOST_STEPS
    return [*told, (f"; and {more} more on the front." if more > 0 else ".", None)]


def plain(parts: Sequence[Part]) -> str:
    """The sentence without its links."""
    return "".join(part for part, _ in parts)


def _named(r: Record) -> Part:
    return columns.name(r), r["run"]


def _size(r: Record, base: Record, axis: Axis) -> str:
    shown = f"{axis.shown(r[axis.field])}{axis.name}"
    if not base[axis.field] or axis.relative:
        return shown
    share = text.percent(r[axis.field] / base[axis.field])
    return f"{shown}, {share} of the baseline's {axis.shown(base[axis.field])}"


def _accuracy(r: Record, base: Record) -> str:
    both = f"{text.points(r['top1'])} % against {text.points(base['top1'])} %"
    return f"{both}, the same within {text.points(r['equivalence_margin'])} points"


def brief(r: Record, axis: Axis) -> str:
    """Size and accuracy of a row, as a picture shows them at its point."""
    return f"{axis.shown(r[axis.field])}, {text.points(r['top1'])} %"


def cost(r: Record, base: Record | None) -> str:
    """The accuracy that a row costs against the main baseline, in words."""
    if base is None or r["difference"] is None or r["model"] != base["model"]:
        return f"{text.points(r['top1'])} %, made of another model"
    ends = [text.end(r[f"difference_{e}"], "+") for e in ("low", "high")]
    shown = f"{text.points(r['difference'], '+')} points ({' to '.join(ends)})"
    if columns.distinguishable(r):
        return shown
    within = text.points(r["equivalence_margin"])
    return f"{shown}, not distinguishable, the same within {within}"
