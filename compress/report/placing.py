"""Place labels at the points of a picture so that they do not overlap. Units are pixels; y grows downwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT = 6.2, 14.0  # of a character and of a line, at 11 pixels
GAP = 11.0  # between a point and its label
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Label:
    """The position of a label relative to its point: of its left end, right end or center, as `align` says."""

    dx: float
    dy: float  # of the middle of the text
    align: str  # "left": the text begins there; "right": it ends there; "center"
    far: bool = False  # so far away that a line should connect it to its point


def lines_of(label: str, longest: int = 34) -> list[str]:
    """A label in lines: one line for each stage if possible; an option and its value stay together.

    >>> lines_of("prune --sparsity 0.5 quantize --scheme int8")
    ['prune --sparsity 0.5', 'quantize --scheme int8']
    """
    lines: list[str] = []
    previous = ""
    for word in label.split():
        goes_on = previous.startswith(("--", "(")) or previous in ("", "trained", "on")
        stage = word[:1].isalpha() and not goes_on
        full = bool(lines) and len(lines[-1]) + 1 + len(word) > longest
        if not lines or stage or (full and word.startswith("--")):
            lines.append(word)
        else:
            lines[-1] += f" {word}"
        previous = word
    return lines or [""]


def placed(
    points: Sequence[tuple[float, float]],
    labels: Sequence[Sequence[str]],
    bounds: tuple[float, float],
    bars: Sequence[Box] = (),
    sign: float = WIDTH,
) -> list[Label]:
    """A place for each label, near its point and, if possible, clear of other points, bars and labels.

    Args:
      bounds: width and height of the picture.
      bars: boxes to keep clear of, such as intervals.
      sign: the width of a character.
    """
    taken = np.array([*bars, *((x - 8, y - 8, x + 8, y + 8) for x, y in points)])
    found = []
    for (x, y), lines in zip(points, labels, strict=True):
        tries = [(label, box((x, y), label, lines, sign)) for label in _tries(HEIGHT * len(lines))]
        label, covered = min(tries, key=lambda each: _cost(each[1], taken, bounds))
        taken = np.vstack([taken, covered])
        found.append(label)
    return found


def _tries(height: float) -> Iterator[Label]:
    """Places to try, the best first."""
    for dx, align in ((-GAP, "right"), (GAP, "left")):
        yield Label(dx, 0, align)
    for dy in (-height / 2 - 4, height / 2 + 4):
        for dx, align in ((-8, "right"), (8, "left")):
            yield Label(dx, dy, align)
    for step in range(9):
        away = GAP + height / 2 + step * HEIGHT
        for dy in (-away, away):
            for align in ("right", "center", "left"):
                yield Label(0, dy, align, far=step > 0)


def box(point: tuple[float, float], label: Label, lines: Sequence[str], sign: float = WIDTH) -> Box:
    """The box that the text of a label covers."""
    width, height = sign * max(map(len, lines)), HEIGHT * len(lines)
    shift = {"left": 0.0, "center": width / 2, "right": width}[label.align]
    left, middle = point[0] + label.dx - shift, point[1] + label.dy
    return left, middle - height / 2, left + width, middle + height / 2


def _cost(covered: Box, taken: np.ndarray, bounds: tuple[float, float]) -> float:
    """The area that a box shares with others, plus 100 times its overhang beyond the picture in pixels."""
    left, top, right, bottom = covered
    wide = np.minimum(right, taken[:, 2]) - np.maximum(left, taken[:, 0])
    high = np.minimum(bottom, taken[:, 3]) - np.maximum(top, taken[:, 1])
    over = float((np.maximum(wide, 0) * np.maximum(high, 0)).sum())
    out = max(0.0, -left) + max(0.0, right - bounds[0])
    out += max(0.0, -top) + max(0.0, bottom - bounds[1])
    return over + 100 * out
