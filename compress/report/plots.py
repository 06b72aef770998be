"""Pictures: curves of a training, accuracy against bytes; PNG and SVG, the same bytes each time."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.files import write_bytes
from compress.report import columns, escape, text
from compress.report.compare import SECTION, Record
from compress.report.references import PublishedFigure, accuracies, contradicts
from compress.report.tables import records

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

# Colours that people with any colour vision tell apart: Okabe and Ito 2008.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKS = "osD^vP"
STYLE = {
    "svg.hashsalt": "compress",  # else the names inside an SVG differ each time
    "text.parse_math": False,  # labels are anybody's text: a "$" is a "$"
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.dpi": 120,
}


def training_curves(history: Sequence[Mapping[str, float]], path: Path) -> list[Path]:
    """Draw accuracy and cross-entropy over epochs into a PNG and an SVG.

    Args:
      history: rows as `compress.training.fit.fit` returns them, one or more.
      path: of both files, without their suffixes.
    """
    if not history:
        raise ValueError("there are no epochs to draw: train for one at least.")
    epochs = [row["epoch"] for row in history]
    with _picture(9, 3.8) as picture:
        left, right = picture.subplots(1, 2)
        for axes, quantity, title in (
            (left, "accuracy", "Accuracy, %"),
            (right, "cross_entropy", "Cross-entropy"),
        ):
            scale = 100 if quantity == "accuracy" else 1
            for name, colour in (("", COLOURS[0]), ("validation_", COLOURS[1])):
                line = [scale * row[name + quantity] for row in history]
                mark = "o" if len(line) == 1 else None
                label = "validation" if name else "training, as augmented"
                axes.plot(epochs, line, color=colour, marker=mark, label=label)
            validation = [row["validation_" + quantity] for row in history]
            best = max(validation) if quantity == "accuracy" else min(validation)
            at = validation.index(best)
            shown = f"{100 * best:.2f} %" if quantity == "accuracy" else f"{best:.4f}"
            axes.plot(
                *(epochs[at], scale * best), "o", color=COLOURS[1], mfc="white",
                label=f"best validation: {shown}, epoch {epochs[at]:.0f}",
            )  # fmt: skip
            axes.set(title=title, xlabel="Epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend(loc="lower right" if quantity == "accuracy" else "upper right")
        return _save(picture, path)


def accuracy_against_bytes(
    table: pd.DataFrame, figures: Sequence[PublishedFigure], folder: Path
) -> list[Path]:
    """Draw top-1 against size into accuracy_against_bytes.{png,svg}, a panel for each data set.

    Args:
      table: as `tables.comparison` gives it.
    """
    panels: dict[tuple[str, ...], list[Record]] = {}
    for r in records(table):
        if r["kind"] != "reference":
            panels.setdefault(tuple(r[field] for field in SECTION), []).append(r)
    heights = [max(3.8, 2.4 + 0.2 * len({_who(r) for r in rows})) for rows in panels.values()]
    with _picture(10, sum(heights)) as picture:
        grid = picture.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
        for axes, rows in zip(grid[:, 0], panels.values(), strict=True):
            _panel(axes, rows, figures)
        return _save(picture, folder / "accuracy_against_bytes")


def _panel(axes: Axes, rows: Sequence[Record], figures: Sequence[PublishedFigure]) -> None:
    several = len({r["model"] for r in rows if not r["label"].startswith("train ")}) > 1
    styles: dict[tuple[str, str], tuple[str, str]] = {}
    for r in _without_trainings(rows):
        index = len(styles)
        style = (COLOURS[index % len(COLOURS)], MARKS[index // len(COLOURS) % len(MARKS)])
        label = escape.for_picture(columns.name(r), 40).lstrip("_")
        label += f" (of {escape.for_picture(text.short(r['model']))})" if several else ""
        # Seeds of one thing look alike and stand in the legend once: "_" keeps out of it.
        named = "_" if _who(r) in styles else label
        _point(axes, r, *styles.setdefault(_who(r), style), named)
    axes.plot([], [], "o", color="grey", mfc="white", label="hollow: the file before gzip")
    split, foreign = rows[0]["split"], escape.for_picture(rows[0]["foreign_model"] or "", 60)
    foreign += ", measured on " if foreign else ""
    if any(
        r["from_published_test"] is not None or r["from_published_validation"] is not None
        for r in rows
    ):
        _published(axes, [f for f in figures if f.data == rows[0]["data"]], split)
    more = "" if rows[0]["trained_on"] == "train" else f", trained on {rows[0]['trained_on']}"
    data = escape.for_picture(rows[0]["data"])
    axes.set(
        title=f"{foreign}{data}: {rows[0]['images']:,} {split} images{more}",
        xlabel="Size after gzip -9, KB (1 KB = 1000 bytes), log scale",
        ylabel="Top-1, %, with 95 % interval",
    )
    _size_axis(axes)
    lines, labels = axes.get_legend_handles_labels()
    # Error bars come last by themselves; a reader looks for the models first.
    order = sorted(range(len(lines)), key=lambda i: not hasattr(lines[i], "has_yerr"))
    axes.legend(
        [lines[i] for i in order], [labels[i] for i in order],
        loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8,
    )  # fmt: skip


def _without_trainings(rows: Sequence[Record]) -> list[Record]:
    """The rows without trainings of a model whose baseline row is there: the same file, twice."""
    measured = {r["model"] for r in rows if r["label"] == "baseline"}
    return [
        r for r in rows
        if r["kind"] == "compressed" or r["label"] == "baseline" or r["model"] not in measured
    ]  # fmt: skip


def _who(r: Record) -> tuple[str, str]:
    """The key that runs of one pipeline with different seeds share."""
    return columns.name(r), r["model"]


def _point(axes: Axes, r: Record, colour: str, mark: str, label: str) -> None:
    x, y = r["gzip_bytes"] / 1000, 100 * r["top1"]
    spread = [[y - 100 * r["top1_low"]], [100 * r["top1_high"] - y]]
    axes.plot([x, r["file_bytes"] / 1000], [y, y], ":", color=colour, lw=0.8, alpha=0.7)
    axes.plot(r["file_bytes"] / 1000, y, mark, color=colour, mfc="white", ms=5)
    axes.errorbar(x, y, yerr=spread, fmt=mark, color=colour, ms=5, capsize=3, lw=1, label=label)


def _published(axes: Axes, figures: Sequence[PublishedFigure], split: str) -> None:
    """Draw lines at the published figures. The labels of two accuracies that contradict each other say so."""
    shown = accuracies(figures, measured_on=split)
    for figure, dash in zip(shown, ("--", "-.") * len(figures), strict=False):
        label = escape.for_picture(f"published, {figure.split}: {100 * figure.value:.2f} %")
        against = [f for f in accuracies(figures) if contradicts(f, figure)]
        if against:
            label += f"\ncontradicted by {100 * against[0].value:.2f} % published on "
            label += escape.for_picture(against[0].split)
        axes.axhline(100 * figure.value, ls=dash, color="grey", lw=1.2, label=label)
    for figure in figures:
        if figure.quantity == "file_bytes_below":
            label = f"published size: {escape.for_picture(figure.as_published)}"
            axes.axvline(figure.value / 1000, ls=":", color="grey", lw=1.2, label=label)


def _size_axis(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    axes.set_xscale("log")
    axes.margins(0.08, 0.12)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda kilobytes, _: f"{kilobytes:,g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


@contextmanager
def _picture(width: float, height: float) -> Iterator[Picture]:
    """A picture of that size in inches, whatever style the user's own settings ask for."""
    from matplotlib import style
    from matplotlib.figure import Figure as Picture
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with style.context(STYLE, after_reset=True):
        yield Picture(figsize=(width, height), layout=ConstrainedLayoutEngine(hspace=0.08))


def _save(picture: Picture, path: Path) -> list[Path]:
    # No date and no version of Matplotlib: the same numbers give the same bytes.
    plain: dict[str, dict[str, Any]] = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
    }
    paths = []
    for kind, metadata in plain.items():
        drawn = io.BytesIO()
        picture.savefig(drawn, format=kind, metadata=metadata)
        paths.append(path.with_suffix(f".{kind}"))
        write_bytes(paths[-1], drawn.getvalue())
    return paths
