"""What a model has trained on, itself or through its teachers: validation images too, if a final one is among them."""

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
    """What a model file was trained on, as the row says that the zoo or its run folder has of it; else "train"."""
    if model := zoo.model_in(path):
        return Result.from_record(model.row).trained_on
    try:
        finished = RunFolder(path.parent).load_manifest() if path.name in MODELS.values() else None
    except ValueError:  # a manifest of something else
        finished = None
    return finished.row.trained_on if finished else "train"


def by_stages(stages: Sequence[Stage], context: RunContext) -> TrainedOn:
    """What the model has trained on that stages make of the incoming one."""
    seen = [context.model_trained_on, *(of_file(path) for path in _files(stages).values())]
    if any(stage.trains for stage in stages):
        seen.append(context.train_on)
    return max(seen, key=len)


def check_teachers(stages: Sequence[Stage], context: RunContext) -> None:
    """Raise ValueError if a file that a stage names has trained on the images that are to be measured on."""
    for word, path in _files(stages).items():
        check_unseen(
            context.measured_on, of_file(path), f"{word} was trained on validation images too"
        )


def check_unseen(measured_on: MeasuredOn, seen: TrainedOn, why: str) -> None:
    """Raise ValueError if what is to be measured on was trained on."""
    if measured_on in seen.split("+"):
        raise ValueError(f"{why}, so they cannot measure it: leave out --measure-on validation.")


def _files(stages: Sequence[Stage]) -> dict[str, Path]:
    """The model files that options of stages name, by their words."""
    return {word: zoo.file_of(word) for stage in stages for word in stage.files()}
