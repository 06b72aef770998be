"""The images that a model was trained on, directly or through its teachers: with or without validation images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from compress import zoo
from compress.rows.measurement import MeasuredOn
from compress.rows.result import Result, TrainedOn
from compress.runs import trained
from compress.runs.context import RunContext
from compress.runs.folder import MODELS, RunFolder
from compress.stage import Stage


def of_file(path: Path) -> TrainedOn:
    """The split that a model file was trained on, by its row in the zoo or in its run folder; without one, "train"."""
    if model := zoo.model_in(path):
        return Result.from_record(model.row).trained_on
    if path.name not in MODELS.values():
        return "train"
    folder = RunFolder(path.parent)
    try:
        if finished := folder.load_manifest():
            return finished.row.trained_on
        facts = trained.facts_in(folder)
    except ValueError:  # the folder is not one of a run
        facts = None
    return facts["trained_on"] if facts else "train"


def by_stages(stages: Sequence[Stage], context: RunContext) -> TrainedOn:
    """The images that the output of these stages was trained on, including those of its incoming model and teachers."""
    seen = [context.model_trained_on, *(of_file(path) for path in _files(stages).values())]
    if any(stage.trains for stage in stages):
        seen.append(context.train_on)
    return max(seen, key=len)


def check_teachers(stages: Sequence[Stage], context: RunContext) -> None:
    """Raise ValueError if a model file that a stage names was trained on the images that the run measures on."""
    for word, path in _files(stages).items():
        check_file(word, of_file(path), context.measured_on)


def check_file(name: str, seen: TrainedOn, measured_on: MeasuredOn) -> None:
    """Raise ValueError if a model file was trained on the images to measure on."""
    why = f"{name} was trained on validation images too"
    # `compress search` measures its trials on validation images and has no --measure-on.
    other = "give a model trained on the training images alone or, except in a search, "
    check_unseen(measured_on, seen, why, other)


def check_unseen(measured_on: MeasuredOn, seen: TrainedOn, why: str, other: str = "") -> None:
    """Raise ValueError, with the reason `why`, if the images to measure on were used in training.

    Args:
      other: what the user can do instead of measuring on test images; ends before the words about that.
    """
    if measured_on in seen.split("+"):
        raise ValueError(
            f"{why}, so they cannot measure it: {other}leave out --measure-on validation."
        )


def _files(stages: Sequence[Stage]) -> dict[str, Path]:
    """Word on the command line -> model file, for the files that options of stages name."""
    return {word: zoo.file_of(word) for stage in stages for word in stage.files()}
