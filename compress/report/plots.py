"""Draw training curves and search fronts; write pictures as PNG and SVG, with the same bytes each time."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

# Colors that people with any color vision can tell apart: Okabe and Ito 2008.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLE = {
    "svg.hashsalt": "compress",  # without it, the names inside an SVG differ each time
    "text.parse_math": False,  # labels are untrusted text: a "$" stays a "$"
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
      history: rows as `compress.training.fit.fit` returns them, at least one.
      path: of both files, without their suffixes.
    """
    if not history:
        raise ValueError("there are no epochs to draw: train for at least one.")
    epochs = [row["epoch"] for row in history]
    with picture_of(9, 3.8) as picture:
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
        return save(picture, path)


def search_front(
    trials: Sequence[tuple[float, float]],
    front: Sequence[tuple[float, float]],
    names: tuple[str, str],
    path: Path,
) -> list[Path]:
    """Draw the trials of a search, and its front as a line, into a PNG and an SVG.

    Args:
      trials, front: points (x, y).
      names: of the x axis and the y axis.
      path: of both files, without their suffixes.
    """
    with picture_of(7, 4.2) as picture:
        axes = picture.subplots()
        axes.plot(*zip(*trials, strict=True), "o", color=COLOURS[5], mfc="white", label="trials")
        line = sorted(front)
        axes.plot(*zip(*line, strict=True), "o-", color=COLOURS[0], label="front")
        axes.set(xlabel=names[0], ylabel=names[1])
        axes.legend()
        return save(picture, path)


@contextmanager
def picture_of(width: float, height: float, constrained: bool = True) -> Iterator[Picture]:
    """A picture of that size in inches, with `STYLE` instead of the Matplotlib settings of the user."""
    from matplotlib import style
    from matplotlib.figure import Figure as Picture
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with style.context(STYLE, after_reset=True):
        layout = ConstrainedLayoutEngine(hspace=0.08) if constrained else None
        yield Picture(figsize=(width, height), layout=layout)


def save(picture: Picture, path: Path) -> list[Path]:
    """Write a picture as a PNG and an SVG in the same folder; `path` has no suffix."""
    # Leave out the date and the version of Matplotlib, so that the same numbers give the same bytes.
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
