"""Divergence of a training: a loss that is no number, or a validation accuracy far below where it began."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from compress.training.progress import History

LOW_EPOCHS = 2  # in a row that are far below
ERRORS = 3  # standard errors that an accuracy far below is below, besides


class Diverged(Exception):
    """A training diverged; the text says how it was seen."""


def watch(keras: Any) -> Any:
    """A Keras callback that raises `Diverged` as soon as the loss is no finite number."""

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if not math.isfinite(float(logs["loss"])):
                raise Diverged("its loss is no longer a finite number")

    return Watch()


def far_below(before: float, classes: int, images: int) -> Callable[[History], None]:
    """A check of the epochs so far that raises `Diverged` if the last of them are far below the beginning.

    It looks at the epochs alone, so that a resumed training ends as an unbroken one.

    Args:
      before: validation accuracy without any training. Nearer to that of guessing than to it, and below it by more than
        chance in drawing the images, is far below.
      images: of validation.
    """
    error = math.sqrt(before * (1 - before) / images)
    lowest = min((before + 1 / classes) / 2, before - ERRORS * error)

    def check(history: History) -> None:
        last = [row["validation_accuracy"] for row in history[-LOW_EPOCHS:]]
        if len(last) == LOW_EPOCHS and max(last) < lowest:
            raise Diverged(
                f"validation accuracy was {last[-1]:.4f} after {len(history)} epochs, from {before:.4f}"
            )

    return check
