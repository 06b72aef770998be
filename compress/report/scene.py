"""The content of a picture of accuracy against size: its range, its rows, and the rows that it names."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from compress.report import columns, front, text
from compress.report.compare import Record
from compress.report.front import Axis
from compress.report.placing import Box
from compress.report.references import Mark, PublishedFigure, accuracies, marks

# Rows farther below the best one are left out; with them in the picture, the other rows would nearly touch.
WINDOW = 0.12
NEAR = 0.04  # published accuracies this near to the rows are in the picture
MOST_OTHERS = 400  # rows off the front that are drawn, at most


@dataclass(frozen=True)
class Scene:
    """The content of a picture and the ranges of its axes."""

    axis: Axis
    x: tuple[float, float]  # in the unit of the axis
    y: tuple[float, float]
    front: list[Record]  # the largest first
    others: list[Record]
    named: list[Record]  # some rows of the front, the row to ship and the main baseline
    best: Record | None  # the row to ship
    levels: list[PublishedFigure]  # published accuracies
    published: list[PublishedFigure]  # all published figures of the network
    marks: list[Mark]  # published results of other networks
    far_marks: list[Mark]  # those outside the picture
    below: list[Record]  # rows that lie below the picture
    hidden: int  # rows that are left out because there are many
    unknown: int  # rows that have no value on the axis
    several: bool  # True if the rows come from several incoming models

    def name(self, r: Record) -> str:
        """The name of a row at its point."""
        of = f" (of {text.short(r['model'])})" if self.several else ""
        return columns.name(r) + of

    @property
    def outside(self) -> str:
        """Sentences on what the picture leaves out; "" if it shows everything."""
        told = []
        if self.below:
            count, shown = len(self.below), sorted(self.below, key=lambda r: -r["top1"])[:2]
            names = "; ".join(f"{columns.name(r)}, {text.points(r['top1'])} %" for r in shown)
            more = f"; and {count - 2:,} more" if count > 2 else ""
            are = "row lies" if count == 1 else "rows lie"
            told.append(f"{count:,} {are} below the picture: {names}{more}.")
        if self.hidden:
            told.append(f"{self.hidden:,} more rows off the front are not drawn.")
        if self.unknown:
            have = "row has" if self.unknown == 1 else "rows have"
            told.append(f"{self.unknown:,} {have} no value on this axis.")
        if self.far_marks:
            names = ", ".join(mark.name for mark in self.far_marks)
            told.append(f"Published for other networks, and outside the picture: {names}.")
        return " ".join(told)


def scene(rows: Sequence[Record], axis: Axis, figures: Sequence[PublishedFigure]) -> Scene | None:
    """The picture of the rows of a section; None if no row has a value on the axis."""
    drawn = front.drawn(rows, axis)
    if not drawn:
        return None
    best, base = front.shipped(drawn, axis), front.main_baseline(drawn)
    published = published_beside(rows, figures)
    levels = accuracies(published, measured_on=rows[0]["split"])
    line = front.undominated(drawn, axis)
    marked = {id(r): r for r in (*line, best, base) if r is not None}
    known = marks(figures, rows[0]["data"], axis.field) if rows[0]["split"] == "test" else []
    beside = [f.value for f in levels] + [m.top1 for m in known]
    y = _range(drawn, list(marked.values()), beside)
    inside = [r for r in drawn if r["top1"] >= y[0]]
    line = [r for r in line if r["top1"] >= y[0]]
    named = {id(r): r for r in front.numbered(line, best)}
    named |= {id(r): r for r in (best, base) if r is not None and r["top1"] >= y[0]}
    others = [r for r in inside if id(r) not in {id(f) for f in line}]
    sizes = [axis.of(r) for r in inside]
    x = min(sizes) / 1.25, max(sizes) * 1.25
    near = [m for m in known if x[0] < m.size / axis.scale < x[1] and y[0] < m.top1 < y[1]]
    many = len(others) > MOST_OTHERS
    spread = [others[i * len(others) // MOST_OTHERS] for i in range(MOST_OTHERS if many else 0)]
    return Scene(
        axis=axis,
        x=x,
        y=y,
        front=line,
        others=spread if many else others,
        named=list(named.values()),
        best=best,
        levels=[f for f in levels if y[0] <= f.value <= y[1]],
        published=published,
        marks=near,
        far_marks=[m for m in known if m not in near],
        below=[r for r in drawn if r["top1"] < y[0]],
        unknown=sum(not r[axis.field] for r in rows),
        several=len({r["model"] for r in drawn if not r["label"].startswith("train ")}) > 1,
        hidden=max(0, len(others) - MOST_OTHERS),
    )


def published_beside(
    rows: Sequence[Record], figures: Sequence[PublishedFigure]
) -> list[PublishedFigure]:
    """The published figures that the rows of a section are compared with."""
    fields = ("from_published_test", "from_published_validation")
    held = any(r[field] is not None for r in rows for field in fields)
    return [f for f in figures if f.data == rows[0]["data"]] if held else []


def _range(
    rows: Sequence[Record], marked: Sequence[Record], published: Sequence[float]
) -> tuple[float, float]:
    """The range of accuracies to draw: that of marked rows not far below the best, and of published ones near them."""
    best = max(r["top1"] for r in rows)
    near_best = [r for r in marked if r["top1"] >= best - WINDOW]
    ends = [e for r in near_best for e in (r["top1_low"], r["top1_high"])]
    low, high = min(ends), max(ends)
    near = [p for p in published if low - NEAR <= p <= high + NEAR]
    low, high = min([low, *near]), max([high, *near])
    pad = max(0.06 * (high - low), 0.003)
    return max(0.0, low - pad), min(1.0, high + pad)


class Pixels:
    """Positions, in pixels, in a picture of that size with a logarithmic x axis."""

    def __init__(self, seen: Scene, size: tuple[float, float]) -> None:
        self.seen, self.size = seen, size

    def across(self, value: float) -> float:
        """The x position of a value in the unit of the axis."""
        low, high = self.seen.x
        return self.size[0] * math.log(value / low) / math.log(high / low)

    def down(self, accuracy: float) -> float:
        """The y position of an accuracy, from the top."""
        low, high = self.seen.y
        return self.size[1] * (high - accuracy) / (high - low)

    def point(self, r: Record) -> tuple[float, float]:
        """The position of a row."""
        return self.across(self.seen.axis.of(r)), self.down(r["top1"])

    def mark(self, mark: Mark) -> tuple[float, float]:
        """The position of a published result."""
        return self.across(mark.size / self.seen.axis.scale), self.down(mark.top1)

    def interval(self, r: Record) -> Box:
        """The box of a row's interval."""
        x = self.across(self.seen.axis.of(r))
        return x - 4, self.down(r["top1_high"]), x + 4, self.down(r["top1_low"])

    def obstacles(self) -> list[Box]:
        """Boxes that labels should not cover: points, intervals, lines of published accuracies, and the front."""
        boxes = [self.interval(r) for r in self.seen.named]
        for y in (self.down(f.value) for f in self.seen.levels):
            boxes.append((0, y - 14, self.size[0], y + 2))
        for x, y in map(self.mark, self.seen.marks):
            boxes.append((x - 6, y - 6, x + 6, y + 6))
        for x, y in map(self.point, self.seen.others):
            boxes.append((x - 3, y - 3, x + 3, y + 3))
        for right, left in itertools.pairwise(self.seen.front):
            (x_right, y_right), (x_left, y_left) = self.point(right), self.point(left)
            boxes.append((x_left, y_left - 2, x_right, y_left + 2))
            boxes.append((x_right - 2, y_right, x_right + 2, y_left))
        return boxes
