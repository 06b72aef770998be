"""Budget: the time and the trials of a search that a process may still use."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from compress.search.definition import Definition
from compress.search.standing import Standing


@dataclass(frozen=True)
class Budget:
    """The end of the time for trials, and the number of trials of the whole search; None: no bound."""

    until: float | None = None  # in the time of `time.monotonic`
    trials: int | None = None
    parent: int | None = None  # this process works for that process, and ends with it

    @classmethod
    def of(cls, definition: Definition, so_far: Standing, parent: int | None = None) -> Budget:
        """The remaining budget of a search."""
        left = None if definition.minutes is None else definition.minutes * 60 - so_far.seconds
        until = None if left is None else time.monotonic() + left
        return cls(until, definition.trials, parent)

    @property
    def seconds_left(self) -> float | None:
        """Remaining seconds; None: no bound."""
        return None if self.until is None else max(0.0, self.until - time.monotonic())

    def is_over(self) -> bool:
        """True if no time is left, or if the process that this one works for has ended."""
        orphaned = self.parent is not None and os.getppid() != self.parent
        return orphaned or self.seconds_left == 0

    def is_used_up(self, so_far: Standing) -> bool:
        """True if no further trial may start."""
        enough = self.trials is not None and so_far.tried >= self.trials
        return enough or self.is_over()
