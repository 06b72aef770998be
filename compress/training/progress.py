"""Progress: the protocol by which a training reports to a display."""

from __future__ import annotations

from typing import Protocol

Row = dict[str, float]  # numbers of an epoch: see `fit`
History = list[Row]


class Progress(Protocol):
    """A receiver of reports from a training. The training does not depend on it."""

    def begin(self, title: str, epochs: int, steps: int, batch_size: int, done: int) -> None:
        """A training of `epochs` epochs of `steps` steps begins; `done` epochs were done before."""

    def step(self, step: int, loss: float, accuracy: float) -> None:
        """A step is done; loss and accuracy are means over the epoch so far."""

    def epoch(self, row: Row) -> None:
        """An epoch is done and saved."""

    def note(self, sentence: str) -> None:
        """Something the user should know, in one line."""
