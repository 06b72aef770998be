"""Progress for notebooks and scripts: none, or one bar per training."""

from __future__ import annotations

from typing import Any

from compress.training.progress import Row


class Quiet:
    """Progress that shows nothing."""

    def begin(self, title: str, epochs: int, steps: int, batch_size: int, done: int) -> None:
        """Do nothing."""

    def step(self, step: int, loss: float, accuracy: float) -> None:
        """Do nothing."""

    def epoch(self, row: Row) -> None:
        """Do nothing."""

    def note(self, sentence: str) -> None:
        """Do nothing."""


class Bars:
    """One bar per training, on standard output or in a notebook's cell, and a line for each note."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False)
        self._bar: Any = None

    def begin(self, title: str, epochs: int, steps: int, batch_size: int, done: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._bar = Progress(*columns, TextColumn("{task.fields[figures]}"), console=self._console)
        self._epochs = epochs
        self._task = self._bar.add_task(title, total=epochs, completed=done, figures="")
        self._bar.start()
        if done == epochs:
            self._bar.stop()

    def step(self, step: int, loss: float, accuracy: float) -> None:
        self._bar.update(self._task, figures=f"loss {loss:.3f}")

    def epoch(self, row: Row) -> None:
        figures = f"loss {row['loss']:.3f}, validation {row['validation_accuracy']:.2%}"
        self._bar.update(self._task, completed=row["epoch"], figures=figures)
        if row["epoch"] == self._epochs:
            self._bar.stop()

    def note(self, sentence: str) -> None:
        from compress.text import printable

        self._console.print(printable(sentence), markup=False, soft_wrap=True)
