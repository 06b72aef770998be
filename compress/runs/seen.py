"""The images that a model was trained on, directly or through its teachers: with or without validation images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from compress import zoo
from compress.rows.measurement import MeasuredOn
from compress.rows.result import Result, TrainedOn
from compress.runs.context import RunContext
from compress.runs.folder import MODELS, RunFolder
from compress.stage import Stage


def of_file(path: Path) -> TrainedOn:
    """The split that a model file was trained on, by its row in the zoo or in its run folder; without one, "train"."""
    if model := zoo.model_in(path):
        return Result.from_record(model.row).trained_on
    try:
        finished = RunFolder(path.parent).load_manifest() if path.name in MODELS.values() else None
    except ValueError:  # the manifest is not one of a run
        finished = None
    return finished.row.trained_on if finished else "train"


def by_stages(stages: Sequence[Stage], context: RunContext) -> TrainedOn:
    """The images that the output of these stages was trained on, including those of its incoming model and teachers."""
    seen = [context.model_trained_on, *(of_file(path) for path in _files(stages).values())]
    if any(stage.trains for stage in stages):
        seen.append(context.train_on)
    return max(seen, key=len)


def check_teachers(stages: Sequence[Stage], context: RunContext) -> None:
    """Raise ValueError if a model file that a stage names was trained on the images that the run measures on."""
    for word, path in _files(stages).items():
        check_unseen(
            context.measured_on, of_file(path), f"{word} was trained on validation images too"
        )


def check_unseen(measured_on: MeasuredOn, seen: TrainedOn, why: str) -> None:
    """Raise ValueError, with the reason `why`, if the images to measure on were used in training."""
    if measured_on in seen.split("+"):
        raise ValueError(f"{why}, so they cannot measure it: leave out --measure-on validation.")


def _files(stages: Sequence[Stage]) -> dict[str, Path]:
    """Word on the command line -> model file, for the files that options of stages name."""
    return {word: zoo.file_of(word) for stage in stages for word in stage.files()}
