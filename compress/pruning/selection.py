"""Choose which filters go: the least important ones, until enough is saved. Arithmetic alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Scope = Literal["layer", "global"]
Cost = Callable[[np.ndarray], int]  # of a model that keeps these units, bool [units]


@dataclass(frozen=True)
class Candidates:
    """Units of a group in the order in which they go, and how many are kept at each stop on the way."""

    order: np.ndarray  # int64 [n], the least important first
    left: (
        np.ndarray
    )  # float64 [n + 1], falling from 1 to 0: the share of importance left when so many are gone
    stops: tuple[int, ...]  # falling, from n


def candidates(units: np.ndarray, scores: np.ndarray, round_to: int | None) -> Candidates:
    """The units of a group by score.

    Args:
      units: int64 [n].
      scores: float64 [n], 0 or more. Of equal scores the first unit goes first.
    """
    order = np.argsort(scores, kind="stable")
    # Summed from the most important one, so that what is left is above 0 as long as a score above 0 is left.
    left = np.append(np.cumsum(scores[order][::-1])[::-1], 0.0)
    return Candidates(
        units[order], left / left[0] if left[0] else left + 1, kept_counts(len(units), round_to)
    )


def kept_counts(n: int, round_to: int | None) -> tuple[int, ...]:
    """How many of n filters may be kept: all, or a multiple of `round_to` but not none.

    Args:
      round_to: None: of 8, or of the largest of 4, 2 and 1 of which two fit into n.

    >>> kept_counts(20, 8), kept_counts(20, 1)[:3], kept_counts(7, 8)
    ((20, 16, 8), (20, 19, 18), (7,))
    >>> kept_counts(12, None), kept_counts(24, None), kept_counts(3, None)
    ((12, 8, 4), (24, 16, 8), (3, 2, 1))
    """
    step = round_to or next((s for s in (8, 4, 2) if 2 * s <= n), 1)
    return (n, *range((n - 1) // step * step, 0, -step))


def least_cost(groups: Sequence[Candidates], units: int, cost: Cost) -> int:
    """What the smallest model costs that can be made of these groups."""
    kept = np.ones(units, dtype=bool)
    for group in groups:
        kept[group.order[: len(group.order) - group.stops[-1]]] = False
    return cost(kept)


def choose(
    groups: Sequence[Candidates], units: int, cost: Cost, target: float, scope: Scope
) -> np.ndarray:
    """Which units to keep: one stop at a time is taken, until the cost is not above `target` or no stop is left.

    Args:
      scope: "layer": the next stop is that of the group of which the smallest fraction is gone halfway to it, so that
        groups lose alike. "global": it is the one that loses least for what it saves, where loss is how far the
        logarithm of its group's importance falls: the smaller a group has become, the more it costs to take of it.

    Returns:
      bool [units]; the last stop taken was needed.
    """
    kept = np.ones(units, dtype=bool)
    stop = [0] * len(groups)
    total = cost(kept)
    while total > target:
        best, price = -1, np.inf
        for number, group in enumerate(groups):
            if stop[number] + 1 == len(group.stops):
                continue
            n, before, after = len(group.order), *group.stops[stop[number] : stop[number] + 2]
            if scope == "layer":
                here = 1 - (before + after) / (2 * n)
            else:
                gone = group.order[n - before : n - after]
                kept[gone] = False
                saved = total - cost(kept)
                kept[gone] = True
                lost = np.log(group.left[n - before] / group.left[n - after])
                here = lost / saved if saved else np.inf
            if here < price:
                best, price = number, here
        if best < 0:
            break
        stop[best] += 1
        kept[groups[best].order[: len(groups[best].order) - groups[best].stops[stop[best]]]] = False
        total = cost(kept)
    return kept
