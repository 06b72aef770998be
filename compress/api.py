"""Functions for notebooks and scripts: they do the same as the commands, without printing."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress import registry
from compress.diagnosis.asked_task import view_without_data
from compress.diagnosis.diagnose import Diagnosis, examined
from compress.keras_models.model import KerasModel
from compress.keras_models.rebuild import flattened
from compress.measurement import layer_table, predictions
from compress.model_files.load import load_model
from compress.pipelines import reuse, setup
from compress.pipelines.pipeline import Pipeline
from compress.pipelines.words import stages_of
from compress.report import pages, references, tables
from compress.rows.jsonl import read_from
from compress.rows.latency import read_latencies
from compress.rows.measurement import MeasuredOn, Measurement
from compress.rows.result import Result, TrainedOn
from compress.runs.folder import RunFolder
from compress.runs.options import RunOptions
from compress.stage import Stage
from compress.tasks.task import Task
from compress.tflite.model import TFLiteModel
from compress.training.precision import PrecisionChoice as Precision
from compress.training.progress import Progress
from compress.training.progress_bars import Bars, Quiet

if TYPE_CHECKING:
    import pandas as pd

AnyModel = KerasModel | TFLiteModel


@dataclass(frozen=True)
class Results:
    """The rows of a pipeline, the baseline first, and the folder that keeps its runs."""

    rows: tuple[Result, ...]
    out: Path
    task: Task
    trust: bool = False

    def table(self) -> pd.DataFrame:
        """The comparison of these rows with the published figures, one line each, at full precision."""
        return tables.compared(self.rows, references.read_references(self.task.references()))

    @property
    def file(self) -> Path:
        """The `.tflite` file that the last row was measured from."""
        return self._folder.model_file("tflite")

    @property
    def model(self) -> AnyModel:
        """The model after the last stage."""
        keras = self._folder.model_file("keras")
        return load_model(keras if keras.exists() else self.file, self.trust)

    @property
    def _folder(self) -> RunFolder:
        (path,) = self.out.glob(f"*-{self.rows[-1].run[:12]}")
        return RunFolder(path)

    def _repr_html_(self) -> str:
        import pandas as pd

        figures = references.read_references(self.task.references())
        lines = tables.compact(tables.compared_records(self.rows, figures))
        return str(pd.DataFrame(lines).to_html(index=False))


def load(path: str | Path, *, trust: bool = False) -> AnyModel:
    """The model in a `.keras`, `.h5`, `.hdf5` or `.tflite` file; no code from the file runs unless `trust` is set.

    Raises:
      FileNotFoundError, ValueError: the file does not exist, or its content is refused.
    """
    return load_model(Path(path), trust)


def run(
    pipeline: str | Sequence[Stage],
    *,
    model: str | Path | KerasModel | None = None,
    task: str | Task = "cifar10",
    data: str | Path | None = None,
    seed: int = 0,
    out: str | Path = "runs",
    results: str | Path = "reports/results.jsonl",
    input_scale: float | None = None,
    deterministic: bool = False,
    precision: Precision = "auto",
    fresh: bool = False,
    train_on: TrainedOn = "train",
    measured_on: MeasuredOn = "test",
    trust: bool = False,
    progress: Progress | bool = False,
) -> Results:
    """Compress a model as `compress run` does. Runs that are already finished in `out` are reused.

    Args:
      pipeline: stages as typed, "prune --sparsity 0.5 quantize", or as objects, `[Prune(sparsity=0.5), Quantize()]`.
      model: a model file, or a model in memory; None: the task's baseline.
      out, results: the folder for run folders, and the file for rows.
      train_on: "train+validation" is for a final model, after all choices are made.
      measured_on: "validation" is for choosing between models. The test images then stay unopened.
      progress: True for one bar per training, or an object with the methods of `compress.training.progress.Progress`.

    Raises:
      ValueError, OSError: with the sentence that the command line would print.
    """
    chain = Pipeline(stages_of(pipeline) if isinstance(pipeline, str) else tuple(pipeline))
    told = _progress_of(progress)
    in_memory = isinstance(model, KerasModel)
    asked = RunOptions(
        task=_task(task),
        data=None if data is None else Path(data),
        model=None if model is None or isinstance(model, KerasModel) else Path(model),
        seed=seed,
        out=Path(out),
        results=Path(results),
        input_scale=input_scale,
        deterministic=deterministic,
        precision=precision,
        fresh=fresh,
        train_on=train_on,
        measured_on=measured_on,
        trust=trust,
    )
    rows = None
    if not in_memory and not asked.fresh:
        rows = reuse.pipeline_rows(chain, asked, told.note)
    if rows is None:
        context = setup.run_context(asked, told, f"compress.run({chain.label!r})")
        if isinstance(model, KerasModel):
            start, context = setup.start_from(model, asked, context)
        else:
            start, context = setup.start(asked, context)
        rows = chain.run(start, context)
    return Results(tuple(rows), asked.out, asked.task, asked.trust)


def evaluate(
    model: str | Path | AnyModel,
    *,
    task: str | Task = "cifar10",
    data: str | Path | None = None,
    input_scale: float | None = None,
    on: MeasuredOn = "test",
    trust: bool = False,
    progress: Progress | bool = False,
) -> Measurement:
    """Measure a model file, or a model in memory, on the images of a split. Nothing is stored."""
    chosen, note = _task(task), _progress_of(progress).note
    dataset = chosen.load(None if data is None else Path(data), note)
    loaded = model if isinstance(model, AnyModel) else load(model, trust=trust)
    return setup.evaluated(loaded, chosen, dataset, input_scale, on=on, note=note)[0]


def inspect(model: str | Path | AnyModel, *, trust: bool = False) -> pd.DataFrame:
    """A model layer by layer, as `compress inspect` shows it; the last line has the totals."""
    import pandas as pd

    loaded = model if isinstance(model, AnyModel) else load(model, trust=trust)
    return pd.DataFrame(layer_table.layer_table(loaded))


def doctor(
    model: str | Path | KerasModel,
    stages: str | Sequence[Stage] | None = None,
    *,
    task: str | Task = "cifar10",
    trust: bool = False,
) -> list[Diagnosis]:
    """Check, before any work, what each stage can do with a model. The default is every stage that takes a Keras model.

    Args:
      task: the task that the stages would run on. For a model with other images or classes, a task of your own images.
    """
    loaded = model if isinstance(model, KerasModel) else load(model, trust=trust)
    if not isinstance(loaded, KerasModel):
        raise ValueError(f"{model} is a .tflite file; stages start from a .keras or .h5 model.")
    if stages is None:
        installed = [registry.stage(name) for name in registry.stage_names()]
        chosen: Sequence[Stage] = [cls() for cls in installed if cls.takes == KerasModel.format]
    else:
        chosen = stages_of(stages) if isinstance(stages, str) else stages
    return examined(flattened(loaded)[0], chosen, view_without_data(loaded, _task(task)))


def write_report(
    results: str | Path = "reports/results.jsonl", out: str | Path | None = None
) -> list[Path]:
    """Write the comparison pages of all rows in `results`, beside them or into `out`. Return the paths."""
    results = Path(results)
    if not results.exists():
        raise ValueError(f"no rows at {results}: `compress run prune --sparsity 0.5` makes some.")
    return write_pages(results, results.parent if out is None else Path(out))


def write_pages(results: Path, out: Path, *, unless_current: bool = False) -> list[Path]:
    """Write the pages of a file of rows, with the figures published for their tasks. Return the paths.

    The pages also show the comparisons that `compress latency` stored in `latency.jsonl` beside the file of rows.

    Args:
      unless_current: do not rewrite pages that were made from exactly these rows.
    """
    rows = read_from(results)
    # A task named as MODULE:OBJECT, or one that is no longer installed, has no published figures here.
    names = sorted({r.task for r in rows} & set(registry.task_names()))
    figures = [p for name in names for p in registry.task(name).references()]
    beside = {r.predictions: (predictions.file_beside(results, r), r) for r in rows}
    readers = {
        digest: functools.partial(predictions.read, path, row)
        for digest, (path, row) in beside.items()
        if digest and path and path.is_file()
    }
    kept = results.with_name("latency.jsonl")
    times = read_latencies(kept) if kept.is_file() else []
    if unless_current and pages.are_current(rows, figures, out, readers, times):
        return pages.paths(out)
    return pages.write_report(rows, figures, out, readers, times)


def _task(task: str | Task) -> Task:
    return registry.task(task) if isinstance(task, str) else task


def _progress_of(progress: Progress | bool) -> Progress:
    if isinstance(progress, bool):
        return Bars() if progress else Quiet()
    return progress
