"""The picture of accuracy against bytes: the front is a line with named models, other models are gray."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.report import escape, front, placing
from compress.report.compare import SECTION, Record
from compress.report.plots import COLOURS, picture_of, save
from compress.report.references import PublishedFigure, accuracies, contradicts
from compress.report.scene import Pixels, Scene, scene
from compress.report.tables import records

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

BLUE, RED, PURPLE = COLOURS[0], COLOURS[1], "#9A3D75"
GREY = "#767676"
# In pixels. A picture is 800 pixels, or 8 inches, wide.
WIDTH, HEIGHT = 800, 470
LEFT, TOP, RIGHT, BOTTOM = 62, 34, 12, 96
SIGN = 6.3  # the width of a character in a label


def accuracy_against_bytes(
    table: pd.DataFrame, figures: Sequence[PublishedFigure], folder: Path
) -> list[Path]:
    """Draw top-1 against bytes into accuracy_against_bytes.{png,svg}, a panel for each data set.

    Args:
      table: as `tables.comparison` gives it.
    """
    panels: dict[tuple[str, ...], list[Record]] = {}
    for r in records(table):
        if r["kind"] != "reference":
            panels.setdefault(tuple(r[field] for field in SECTION), []).append(r)
    height = HEIGHT * len(panels)
    with picture_of(WIDTH / 100, height / 100, constrained=False) as picture:
        for index, rows in enumerate(panels.values()):
            bottom = height - HEIGHT * (index + 1) + BOTTOM
            size = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM)
            place = (LEFT / WIDTH, bottom / height, size[0] / WIDTH, size[1] / height)
            _panel(picture.add_axes(place), rows, figures, size)
        return save(picture, folder / "accuracy_against_bytes")


def _panel(
    axes: Axes, rows: Sequence[Record], figures: Sequence[PublishedFigure], size: tuple[int, int]
) -> None:
    seen = scene(rows, front.main_axis(rows), figures)
    if seen is None:  # a file size is never missing, so there are no rows
        return
    _points(axes, seen.axis, seen.others, GREY, 4, 0.55)
    steps = [(seen.axis.of(r), 100 * r["top1"]) for r in seen.front]
    axes.step(*zip(*steps[::-1], strict=True), where="post", color=BLUE, lw=1.6, zorder=3)
    on_front = {id(r) for r in seen.front}
    for r in [*seen.front, *seen.named]:
        colour = RED if r is seen.best else BLUE if id(r) in on_front else GREY
        _points(axes, seen.axis, [r], colour, 7, 1)
    _published(axes, seen)
    axes.set_xscale("log")
    axes.set_xlim(*seen.x)
    axes.set_ylim(*(100 * y for y in seen.y))
    _ticks(axes)
    _name(axes, seen, size)
    axes.set_title(title(rows), fontsize=11)
    said = textwrap.fill(escape.for_picture(seen.outside, 400), 120)
    axes.set_xlabel(f"{seen.axis.title}, log scale" + (f"\n{said}" if said else ""))
    axes.set_ylabel("Top-1, %, with 95 % interval")
    _legend(axes, seen)


def title(rows: Sequence[Record]) -> str:
    """The title of a panel: the data that the rows of the section were measured on."""
    first = rows[0]
    foreign = escape.for_picture(first["foreign_model"] or "", 60)
    foreign += ", measured on " if foreign else ""
    more = "" if first["trained_on"] == "train" else f", trained on {first['trained_on']}"
    data = escape.for_picture(first["data"])
    return f"{foreign}{data}: {first['images']:,} {first['split']} images{more}"


def _points(
    axes: Axes, axis: front.Axis, rows: Sequence[Record], colour: str, size: float, alpha: float
) -> None:
    y = [100 * r["top1"] for r in rows]
    below = [100 * (r["top1"] - r["top1_low"]) for r in rows]
    above = [100 * (r["top1_high"] - r["top1"]) for r in rows]
    axes.errorbar(
        [axis.of(r) for r in rows], y, yerr=[below, above], fmt="o", color=colour, ms=size, lw=1,
        capsize=2, alpha=alpha, zorder=4 if alpha == 1 else 2,
    )  # fmt: skip


def _name(axes: Axes, seen: Scene, size: tuple[int, int]) -> None:
    """Write the names of models at their points."""
    pixels = Pixels(seen, size)
    labels = [
        [*placing.lines_of(escape.for_picture(seen.name(r), 90)), front.brief(r, seen.axis)]
        for r in seen.named
    ]
    labels += [[escape.for_picture(m.name, 60)] for m in seen.marks]
    at = [(seen.axis.of(r), 100 * r["top1"]) for r in seen.named]
    at += [(m.size / seen.axis.scale, 100 * m.top1) for m in seen.marks]
    colours = [RED if r is seen.best else "black" for r in seen.named] + [PURPLE] * len(seen.marks)
    points = [*map(pixels.point, seen.named), *map(pixels.mark, seen.marks)]
    places = placing.placed(points, labels, size, pixels.obstacles(), SIGN)
    for xy, label, place, colour in zip(at, labels, places, colours, strict=True):
        axes.annotate(
            "\n".join(label), xy, (0.72 * place.dx, -0.72 * place.dy), textcoords="offset points",
            ha=place.align, va="center", fontsize=8, zorder=6, color=colour,
            fontweight="bold" if colour == RED else "normal",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.6, "pad": 0.4},
            arrowprops={"arrowstyle": "-", "color": GREY, "lw": 0.6} if place.far else None,
        )  # fmt: skip


def _published(axes: Axes, seen: Scene) -> None:
    """Draw lines at the published figures, and diamonds at those of other networks.

    The label of an accuracy says if another one contradicts it.
    """
    for mark in seen.marks:
        axes.plot(
            mark.size / seen.axis.scale,
            100 * mark.top1,
            "D",
            ms=5,
            mec=PURPLE,
            mfc="white",
            zorder=5,
        )
    small: dict[str, Any] = {"fontsize": 8, "color": PURPLE, "zorder": 5}
    for figure in seen.levels:
        axes.axhline(100 * figure.value, ls=(0, (5, 3)), color=PURPLE, lw=1.2)
        axes.text(
            0.99, 100 * figure.value, level_name(figure, seen), ha="right", va="bottom",
            transform=axes.get_yaxis_transform(), **small,
        )  # fmt: skip
    for figure in seen.published:
        on_file = seen.axis is front.AXES[0] and figure.quantity == "file_bytes_below"
        if on_file and seen.x[0] < figure.value / 1000 < seen.x[1]:
            label = f"published size: {escape.for_picture(figure.as_published)}"
            axes.axvline(figure.value / 1000, ls=":", color=PURPLE, lw=1.2)
            axes.text(
                figure.value / 1000, 0.02, f" {label}", transform=axes.get_xaxis_transform(),
                ha="left", va="bottom", **small,
            )  # fmt: skip


def level_name(figure: PublishedFigure, seen: Scene) -> str:
    """The label at the line of a published accuracy."""
    label = escape.for_picture(f"published, {figure.split}: {100 * figure.value:.2f} %")
    against = [f for f in accuracies(seen.published) if contradicts(f, figure)]
    if not against:
        return label
    other = f"{100 * against[0].value:.2f} % published on {escape.for_picture(against[0].split)}"
    return f"{label}, contradicted by {other}"


def _legend(axes: Axes, seen: Scene) -> None:
    """Draw a legend of at most four entries; models are named at their points instead."""
    entries = [(BLUE, "o-", "no other row is smaller and as accurate")]
    entries += [(RED, "o", "the smallest that costs nothing")] if seen.best else []
    entries += [(GREY, "o", "the others")] if seen.others else []
    entries += [(PURPLE, "D", "other networks, as published")] if seen.marks else []
    for colour, mark, label in entries:
        face = "white" if mark == "D" else colour
        axes.plot([], [], mark, color=colour, mfc=face, ms=5, label=label)
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.19),
        ncols=len(entries),
        fontsize=8,
        columnspacing=1.2,
    )


def _ticks(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda kilobytes, _: f"{kilobytes:,g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda percent, _: f"{percent:g}"))
