"""m:n patterns: m zeros in every n consecutive weights, such as 2:4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
import numpy as np


class Pattern(click.ParamType):
    """m:n, as in 2:4: m zeros in every n consecutive weights, 0 < m < n."""

    name = "M:N"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """The pattern as "m:n", without leading zeros or blanks."""
        parts = str(value).split(":")
        if len(parts) != 2 or not all(p.strip().isdecimal() and len(p) < 5 for p in parts):
            self.fail(f"{value!r:.40} is not a pattern like 2:4, two zeros in every four weights.")
        m, n = map(int, parts)
        if not 0 < m < n:
            self.fail(f"{m}:{n} is not a pattern m:n with 0 < m < n, such as 2:4.")
        return f"{m}:{n}"


def zeros_and_group(pattern: str) -> tuple[int, int]:
    """The m and n of a pattern.

    >>> zeros_and_group("2:4")
    (2, 4)
    """
    zeros, group = pattern.split(":")
    return int(zeros), int(group)


def pattern_mask(w: np.ndarray, pattern: str) -> np.ndarray:
    """Mask of the weights to keep: of every n consecutive weights, the m smallest by magnitude are dropped.

    Groups run along axis -2, and n must divide its length. This is the axis of the input channels, which TFLite stores
    next to each other. (In a transposed convolution it is the axis of the output channels, here as in tfmot.)

    Args:
      w: a kernel [..., i, o].

    Returns:
      bool, shape of `w`.

    >>> pattern_mask(np.array([[3.0], [-1.0], [2.0], [-4.0]]), "2:4")[:, 0]
    array([ True, False, False,  True])
    """
    zeros, group = zeros_and_group(pattern)
    groups = _grouped(w, group)
    mask = np.ones(groups.shape, dtype=bool)
    smallest = np.argsort(np.abs(groups), axis=-1, kind="stable")[..., :zeros]
    np.put_along_axis(mask, smallest, False, axis=-1)
    rows = np.moveaxis(w, -2, -1)
    return np.moveaxis(mask.reshape(rows.shape), -1, -2)


def broken_groups(w: np.ndarray, pattern: str) -> tuple[int, int]:
    """Number of groups of a kernel [..., i, o] with fewer zeros than the pattern asks for, and number of all groups.

    >>> broken_groups(np.array([[3.0], [0.0], [2.0], [0.0]]), "2:4")
    (0, 1)
    """
    zeros, group = zeros_and_group(pattern)
    enough = np.sum(_grouped(w, group) == 0, axis=-1) >= zeros
    return int(np.sum(~enough)), enough.size


def pattern_violations(kernels: Mapping[str, np.ndarray], pattern: str) -> list[str]:
    """A sentence for each kernel that does not keep a pattern.

    >>> pattern_violations({"a": np.array([[3.0], [1.0], [2.0], [0.0]])}, "2:4")
    ['a breaks pattern 2:4 in 1 of 1 groups']
    """
    counts = {name: broken_groups(w, pattern) for name, w in kernels.items()}
    return [
        f"{name} breaks pattern {pattern} in {broken} of {groups} groups"
        for name, (broken, groups) in counts.items()
        if broken
    ]


def _grouped(w: np.ndarray, group: int) -> np.ndarray:
    """The weights [..., i, o] as [..., group], consecutive along axis -2."""
    return np.moveaxis(w, -2, -1).reshape(-1, group)
