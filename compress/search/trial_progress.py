"""Progress of a trial: it reports the accuracy so far to the pruner, and ends a trial whose time is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from compress.training.progress import Progress, Row

if TYPE_CHECKING:
    from optuna.trial import Trial

PARTS = 10  # of a trial's epochs, after each of which the pruner is asked


class OutOfTime(Exception):
    """Raised in a training when the time of its search is over. The run folder keeps the epochs finished so far."""


class TrialProgress:
    """Forwards the reports of a training, and ends it if its time is over or if the pruner stops the trial."""

    def __init__(
        self,
        shown: Progress,
        trial: Trial | None,
        epochs: int,
        done: int,
        is_over: Callable[[], bool],
    ) -> None:
        """
        Args:
          trial: the accuracy is reported to it; None: the trial is not stopped early.
          epochs: of all stages of the trial together; `done` of them are in finished runs.
          is_over: returns True if no time is left.
        """
        self.shown, self.trial, self.epochs, self.is_over = shown, trial, epochs, is_over
        self.before, self.current, self.reported = done, 0, 0
        self.asked = 0  # epochs of the current training
        self.trained, self.seconds = 0, 0.0  # epochs in this process, and their time

    def begin(self, title: str, epochs: int, steps: int, batch_size: int, done: int) -> None:
        """See `Progress`. Raises OutOfTime."""
        if self.is_over():
            raise OutOfTime
        # A training that did not end begins again: it diverged.
        if self.current == self.asked:
            self.before += self.current
        self.current, self.asked = done, epochs
        # The accuracy after earlier tenths is not known here.
        self.reported = max(self.reported, part(self.before + done, self.epochs))
        self.shown.begin(title, epochs, steps, batch_size, done)

    def step(self, step: int, loss: float, accuracy: float) -> None:
        """See `Progress`. Raises OutOfTime."""
        self.shown.step(step, loss, accuracy)
        if self.is_over():
            raise OutOfTime

    def epoch(self, row: Row) -> None:
        """See `Progress`. Raises optuna.TrialPruned if the trial is to be stopped."""
        self.shown.epoch(row)
        self.current = int(row["epoch"])
        self.trained, self.seconds = self.trained + 1, self.seconds + row["seconds"]
        if self.trial is None:
            return
        reached = part(self.before + self.current, self.epochs)
        for step in range(self.reported + 1, reached + 1):
            self.trial.report(row["validation_accuracy"], step)
        if reached > self.reported:
            self.reported = reached
            # A trial at its end is not stopped: measuring it costs little.
            if reached < PARTS and self.trial.should_prune():
                import optuna

                raise optuna.TrialPruned

    def note(self, sentence: str) -> None:
        """See `Progress`."""
        self.shown.note(sentence)


def part(done: int, epochs: int) -> int:
    """The number of tenths of the epochs that are done.

    >>> [part(done, 6) for done in (1, 3, 6, 7)]
    [1, 5, 10, 10]
    """
    return min(PARTS, PARTS * done // max(1, epochs))
