"""Budget: what a process may still use of the time and the trials of its search."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from compress.search.definition import Definition
from compress.search.standing import Standing


@dataclass(frozen=True)
class Budget:
    """Until when trials may run, and how many of the search in all; None: no bound."""

    until: float | None = None  # of `time.monotonic`
    trials: int | None = None
    parent: int | None = None  # process that this one works for, and ends with

    @classmethod
    def of(cls, definition: Definition, so_far: Standing, parent: int | None = None) -> Budget:
        """What is left of a search's budget."""
        left = None if definition.minutes is None else definition.minutes * 60 - so_far.seconds
        until = None if left is None else time.monotonic() + left
        return cls(until, definition.trials, parent)

    @property
    def seconds_left(self) -> float | None:
        """Seconds that are left; None: any number."""
        return None if self.until is None else max(0.0, self.until - time.monotonic())

    def is_over(self) -> bool:
        """Whether no time is left, or the process that this one works for has gone."""
        orphaned = self.parent is not None and os.getppid() != self.parent
        return orphaned or self.seconds_left == 0

    def is_used_up(self, so_far: Standing) -> bool:
        """Whether no trial may begin any more."""
        enough = self.trials is not None and so_far.tried >= self.trials
        return enough or self.is_over()
