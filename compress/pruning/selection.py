"""Choose the filters to remove: the least important ones, until the cost is low enough. Arithmetic on arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Scope = Literal["layer", "global"]
Cost = Callable[[np.ndarray], int]  # bool [units], true for units kept -> cost of that model


@dataclass(frozen=True)
class Candidates:
    """Units of a group in order of removal, and the numbers of kept units at which the removal may stop."""

    order: np.ndarray  # int64 [n], the least important first
    left: np.ndarray  # float64 [n + 1]: share of importance left after 0 to n removals, from 1 to 0
    stops: tuple[int, ...]  # numbers of units kept, falling from n


def candidates(units: np.ndarray, scores: np.ndarray, round_to: int | None) -> Candidates:
    """The units of a group by score.

    Args:
      units: int64 [n].
      scores: float64 [n], 0 or more. Among equal scores, the first unit is removed first.
    """
    order = np.argsort(scores, kind="stable")
    # Summed from the most important unit, so that `left` is above 0 as long as a score above 0 is left.
    left = np.append(np.cumsum(scores[order][::-1])[::-1], 0.0)
    return Candidates(
        units[order], left / left[0] if left[0] else left + 1, kept_counts(len(units), round_to)
    )


def kept_counts(n: int, round_to: int | None) -> tuple[int, ...]:
    """The numbers of filters of n that may be kept: n, or a multiple of `round_to` above 0.

    Args:
      round_to: None: the largest of 8, 4 and 2 that fits into n twice, otherwise 1.

    >>> kept_counts(20, 8), kept_counts(20, 1)[:3], kept_counts(7, 8)
    ((20, 16, 8), (20, 19, 18), (7,))
    >>> kept_counts(12, None), kept_counts(24, None), kept_counts(3, None)
    ((12, 8, 4), (24, 16, 8), (3, 2, 1))
    """
    step = round_to or next((s for s in (8, 4, 2) if 2 * s <= n), 1)
    return (n, *range((n - 1) // step * step, 0, -step))


def least_cost(groups: Sequence[Candidates], units: int, cost: Cost) -> int:
    """The cost of the smallest model: every group at its last stop."""
    kept_units = np.ones(units, dtype=bool)
    for group in groups:
        kept_units[group.order[: len(group.order) - group.stops[-1]]] = False
    return cost(kept_units)


def choose(
    groups: Sequence[Candidates], units: int, cost: Cost, target: float, scope: Scope
) -> np.ndarray:
    """Choose the units to keep: one group at a time goes to its next stop, until the cost is at most `target`.

    Args:
      groups: in any order; among equally good groups, the first is taken.
      units: number of units of the model, including units of no group.
      target: if it is below `least_cost`, every group ends at its last stop.
      scope: "layer": the next group is the one that has lost the smallest fraction of units halfway to its next stop,
        so that all groups lose similar fractions. "global": the next group is the one with the least loss per cost
        saved. The loss is the fall of the logarithm of the group's importance; it grows as the group becomes smaller.

    Returns:
      bool [units], true for units kept. Before the last removal, the cost was above `target`.
    """
    kept_units = np.ones(units, dtype=bool)
    stop = [0] * len(groups)
    total = cost(kept_units)
    while total > target:
        best, lowest = -1, np.inf
        for number, group in enumerate(groups):
            if stop[number] + 1 == len(group.stops):
                continue
            n, before, after = len(group.order), *group.stops[stop[number] : stop[number] + 2]
            if scope == "layer":
                price = 1 - (before + after) / (2 * n)
            else:
                removed = group.order[n - before : n - after]
                kept_units[removed] = False
                saved = total - cost(kept_units)
                kept_units[removed] = True
                lost = np.log(group.left[n - before] / group.left[n - after])
                price = lost / saved if saved else np.inf
            if price < lowest:
                best, lowest = number, price
        if best < 0:
            break
        stop[best] += 1
        kept_units[
            groups[best].order[: len(groups[best].order) - groups[best].stops[stop[best]]]
        ] = False
        total = cost(kept_units)
    return kept_units


def fewest(figure: Callable[[int], float], asked: float, most: int) -> int:
    """The least number from 0 to `most` with a figure of at most `asked`, by bisection; `most` itself must qualify.

    >>> fewest(lambda n: 100 - n, 60, 90), fewest(lambda n: 100 - n, 200, 90), fewest(lambda n: 7 - n, 0, 7)
    (40, 0, 7)
    """
    low, high = -1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if figure(middle) <= asked else (middle, high)
    return high
