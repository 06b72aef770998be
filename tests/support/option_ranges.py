"""Values just outside the ranges of options."""

from __future__ import annotations

from typing import Any

import click

from compress.typed_options import WholeNumbers


def outside(kind: click.ParamType) -> list[Any]:
    """Values just outside the range of a click type."""
    if isinstance(kind, click.types._NumberRangeBase):
        step = 1 if isinstance(kind, click.IntRange) else 1e-6
        below = [] if kind.min is None else [kind.min if kind.min_open else kind.min - step]
        above = [] if kind.max is None else [kind.max if kind.max_open else kind.max + step]
        return below + above + [float("nan")] * (step != 1)
    if isinstance(kind, click.Choice):
        return ["no-such-choice"]
    if isinstance(kind, WholeNumbers):
        return [[kind.low - 1] * kind.count, [kind.high + 1] * kind.count, [kind.low]]
    return []
