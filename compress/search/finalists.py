"""Finalists: the best trials of a search, measured once on the test images. The best file is copied to its folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from compress.files import write_bytes
from compress.keras_models.model import KerasModel
from compress.pipelines.pipeline import Pipeline
from compress.rows.result import Result
from compress.runs.context import Made, RunContext
from compress.runs.folder import RunFolder
from compress.search.definition import Definition, folder_of
from compress.search.standing import Found, Standing

BEST = "best.tflite"


def finalists(definition: Definition, so_far: Standing) -> tuple[Found, ...]:
    """The trials that are measured on test images: the best one or, with several objectives, the front."""
    if len(definition.objectives) > 1:
        return so_far.front
    return (so_far.best,) if so_far.best else ()


def remark(definition: Definition, so_far: Standing) -> str:
    """The note in a finalist's row that says how the finalist was found."""
    by = " and ".join(definition.objectives)
    return (
        f"Found by search {definition.name}: the best by {by} on validation images among {so_far.tried} trials, of "
        f"which {so_far.stopped} were stopped early and {so_far.failed} failed."
    )


def measured(
    definition: Definition, so_far: Standing, model: KerasModel, context: RunContext, results: Path
) -> list[Result]:
    """The rows of the finalists on test images, after that of the baseline. A row that exists already is reused.

    Args:
      context: of the trials.
      results: the file that these rows are appended to.
    """
    context = dataclasses.replace(context, measured_on="test", results=results)
    rows = Pipeline(()).run(model, context)
    context = dataclasses.replace(context, remarks=(remark(definition, so_far),))
    for found in finalists(definition, so_far):
        folder = run_folder(found, context.out)

        def make(folder: RunFolder = folder) -> Made:
            raise ValueError(
                f"{folder.path} was deleted: `compress search --resume {definition.name}` with more trials makes it "
                "again when it is proposed again."
            )

        rows.append(context.run(folder, found.words, make).rows["test"])
    return rows


def export(definition: Definition, best: Found, out: Path) -> Path:
    """Copy the best trial's file into the folder of the search. Return the path of the copy."""
    path = folder_of(out, definition.name) / BEST
    write_bytes(path, run_folder(best, out).model_file("tflite").read_bytes())
    return path


def run_folder(found: Found, out: Path) -> RunFolder:
    """The run folder of a finished trial."""
    return RunFolder(out / str(found.facts["folder"]))
