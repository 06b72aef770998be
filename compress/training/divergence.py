"""Divergence of a training: a loss that is no number, or a validation accuracy far below where it began."""

from __future__ import annotations

import math
from typing import Any

LOW_EPOCHS = 2  # in a row that are far below


class Diverged(Exception):
    """A training diverged; the text says how it was seen."""


def watch(before: float, classes: int, keras: Any) -> Any:
    """A Keras callback that raises `Diverged` as soon as its training does.

    Args:
      before: validation accuracy without any training. Nearer to that of guessing than to it is far below.
    """
    lowest = (before + 1 / classes) / 2

    class Watch(keras.callbacks.Callback):
        low = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if not math.isfinite(float(logs["loss"])):
                raise Diverged("its loss is no longer a finite number")

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            accuracy = float(logs["val_accuracy"])
            self.low = self.low + 1 if accuracy < min(lowest, before) else 0
            if self.low == LOW_EPOCHS:
                raise Diverged(
                    f"validation accuracy was {accuracy:.4f} after {epoch + 1} epochs, from {before:.4f}"
                )

    return Watch()
