"""Divergence of a training: a loss that is not finite, or a validation accuracy far below its start value."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from compress.training.progress import History

LOW_EPOCHS = 2  # consecutive epochs far below the start that count as divergence
ERRORS = 3  # standard errors by which an accuracy far below the start is also below it


class Diverged(Exception):
    """A training diverged; the text says how that was detected."""


def watch(keras: Any) -> Any:
    """A Keras callback that raises `Diverged` as soon as the loss is not a finite number."""

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if not math.isfinite(float(logs["loss"])):
                raise Diverged("its loss is no longer a finite number")

    return Watch()


def far_below(before: float, classes: int, images: int) -> Callable[[History], None]:
    """A check of the epochs so far. It raises `Diverged` if the last epochs are far below the start.

    It uses the epochs alone, so that a resumed training ends like an uninterrupted one.

    Args:
      before: validation accuracy without any training. An accuracy is far below it if it is nearer to the accuracy of
        guessing, and if the random choice of the images does not explain the difference.
      images: number of validation images.
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
