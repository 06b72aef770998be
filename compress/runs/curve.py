"""The learning curve of a run, read from the log that its training wrote."""

from __future__ import annotations

from compress.runs.folder import RunFolder
from compress.training.checkpoint import LOG, accuracies_logged


def curve_of(folder: RunFolder) -> list[float] | None:
    """Accuracy on validation images, in [0, 1], after each epoch of a run's training; None if it trained nothing."""
    found = accuracies_logged(folder.log)
    if found is None and not folder.checkpoint.is_symlink():
        found = accuracies_logged(folder.checkpoint / LOG)
    return found
