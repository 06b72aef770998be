"""Several pipelines in one TOML file: all are checked first, then run in an order that shares work.

A pipeline that fails does not stop the others.
"""

from __future__ import annotations

import tomllib
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import click

from compress import registry, zoo
from compress.data.dataset import Note
from compress.input_file import regular
from compress.keras_models.model import KerasModel
from compress.pipelines.pipeline import Pipeline
from compress.pipelines.words import SEED, parse_stages
from compress.rows.result import Result
from compress.runs.context import RunContext
from compress.runs.options import RunOptions
from compress.stage import Stage
from compress.text import no_such, sentence_of

MAX_BYTES = 1_000_000
SHARED = ("model", "seeds")  # keys at the top apply to all pipelines; a pipeline may have its own
OWN = ("name", "run", "stages", *SHARED)
# Options of `compress run`, which belong on the command line, not in the file.
RUN_FLAGS = {"--measure-on", "--json", "--jobs", "--on", "--cpus", "--gpus"} | {
    f"--{field.name.replace('_', '-')}" for field in fields(RunOptions)
}


@dataclass(frozen=True)
class PlannedRun:
    """One pipeline of the file, with one of its seeds."""

    name: str
    pipeline: Pipeline
    seed: int
    model: Path | None  # None: the task's baseline


@dataclass(frozen=True)
class Outcome:
    """The outcome of a planned run: its rows, the baseline first, or the sentence of its error."""

    planned: PlannedRun
    rows: list[Result]
    error: str | None = None
    traceback: tuple[str, ...] = ()  # lines; only for a defect, of this code or of a library

    def record(self) -> dict[str, Any]:
        """As JSON."""
        planned = self.planned
        return {
            "name": planned.name,
            "label": planned.pipeline.label,
            "model": planned.model and str(planned.model),
            "seed": planned.seed,
            "error": self.error,
            "rows": [row.record() for row in self.rows],
        }

    def summary(self) -> dict[str, Any]:
        """One line of a table."""
        return {
            "pipeline": self.planned.name,
            "seed": self.planned.seed,
            "top-1": f"{self.rows[-1].top1:.2%}" if self.rows else "",
            "state": "done" if self.error is None else "failed",
        }


Starts = Mapping[Path | None, tuple[KerasModel, RunContext]]


def read(path: Path, seed: int, model: Path | None) -> list[PlannedRun]:
    """The pipelines of the file, sorted so that those with the same first stages are neighbours.

    Args:
      seed, model: defaults for pipelines that have none in the file.

    Raises:
      ValueError: something in the file is unknown or wrong; the message names the file and the place.
    """
    if regular(path).stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: more than {MAX_BYTES:,} bytes; expected a few pipelines.")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a TOML file: {error}.") from error
    _check_keys(content, ("pipeline", *SHARED), str(path))
    entries = content.get("pipeline", [])
    if not entries or not isinstance(entries, list):
        raise ValueError(f"{path}: no pipelines; expected [[pipeline]] and run = 'prune quantize'.")
    defaults = {"seeds": [seed], "model": model and str(model.absolute())}
    defaults |= {k: content[k] for k in SHARED if k in content}
    plans = [
        planned
        for number, entry in enumerate(entries, start=1)
        for planned in _planned(entry, defaults, path, f"{path}, pipeline {number}")
    ]
    return sorted(plans, key=_sort_key)


def check(plans: Sequence[PlannedRun], starts: Starts) -> None:
    """Raise ValueError, naming the pipeline, if a stage cannot treat the model that the pipeline starts from."""
    for planned in plans:
        model, context = starts[planned.model]
        try:
            planned.pipeline.check(model, context.view(None))
        except ValueError as error:
            raise ValueError(f"pipeline {planned.name!r}: {error}") from error


def run(plans: Sequence[PlannedRun], starts: Starts) -> list[Outcome]:
    """Run the pipelines one after another. One that fails does not stop the others."""
    outcomes = []
    for number, planned in enumerate(plans, start=1):
        note = starts[planned.model][1].progress.note
        note(f"pipeline {number} of {len(plans)}: {planned.name}, seed {planned.seed}")
        outcomes.append(outcome_of(planned, starts))
        tell(outcomes[-1], note)
    return outcomes


def outcome_of(planned: PlannedRun, starts: Starts) -> Outcome:
    """Run one pipeline. Any exception becomes the error of its outcome."""
    model, context = starts[planned.model]
    try:
        return Outcome(planned, planned.pipeline.run(model, replace(context, seed=planned.seed)))
    except Exception as error:
        if isinstance(error, OSError | ValueError):
            return Outcome(planned, [], sentence_of(error))
        lines = tuple(traceback.format_exc().splitlines())
        return Outcome(planned, [], f"{type(error).__name__}: {error}", lines)


def tell(outcome: Outcome, note: Note) -> None:
    """Tell the user if a pipeline failed, and why."""
    if outcome.error is not None:
        planned = outcome.planned
        for line in (
            *outcome.traceback,
            f"{planned.name}, seed {planned.seed}, failed: {outcome.error}",
        ):
            note(line)


def _planned(entry: Any, defaults: Mapping[str, Any], path: Path, place: str) -> list[PlannedRun]:
    if not isinstance(entry, dict):
        raise ValueError(f"{place}: is {entry!r}; expected [[pipeline]] and keys below it.")
    _check_keys(entry, OWN, place)
    if ("run" in entry) == ("stages" in entry):
        raise ValueError(
            f"{place}: expected either run = 'prune --sparsity 0.5 quantize' "
            "or stages = [{stage = 'prune', sparsity = 0.5}, {stage = 'quantize'}]."
        )
    try:
        pipeline = Pipeline(
            _stages_of_text(entry["run"]) if "run" in entry else _stages_of_specs(entry["stages"])
        )
    except click.NoSuchOption as error:
        raise ValueError(f"{place}: {_unknown_option(error)}") from error
    except click.UsageError as error:
        raise ValueError(f"{place}: {error.format_message()}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{place}: {error}") from error
    settings = {**defaults, **entry}
    name, model, seeds = entry.get("name", pipeline.label), settings["model"], settings["seeds"]
    if not isinstance(name, str) or not isinstance(model, str | None):
        raise ValueError(f"{place}: name and model are text, as name = 'half'.")
    if not isinstance(seeds, list) or not seeds or not all(map(_is_seed, seeds)):
        raise ValueError(
            f"{place}: seeds is {seeds!r}; expected a list of whole numbers, as seeds = [0, 1, 2]."
        )
    source = _model_file(model, path, place) if model else None
    return [PlannedRun(name, pipeline, seed, source) for seed in seeds]


def _model_file(word: str, path: Path, place: str) -> Path:
    """The file that `zoo:NAME` or a path names; the path is relative to the TOML file.

    So a folder with the TOML file and its models can be moved.
    """
    try:
        named = zoo.named(word)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
    return named.file if named else path.parent / word


def _stages_of_text(text: Any) -> tuple[Stage, ...]:
    if not isinstance(text, str) or not text.split():
        raise ValueError(f"run is {text!r}; expected stages, as run = 'prune --sparsity 0.5'.")
    return parse_stages(text)


def _unknown_option(error: click.NoSuchOption) -> str:
    """The sentence about an option that no stage has; options of `compress run` get their own sentence."""
    if error.option_name not in RUN_FLAGS:
        return error.format_message()
    return (
        f"{error.option_name} is not an option of a stage: seeds and models are keys of the file, as seeds = [0, 1]; "
        "give other options of `compress run` on the command line."
    )


def _stages_of_specs(specs: Any) -> tuple[Stage, ...]:
    if not isinstance(specs, list) or not specs or not all(isinstance(s, dict) for s in specs):
        raise ValueError(f"stages is {specs!r}; expected [{{stage = 'prune', sparsity = 0.5}}].")
    return tuple(registry.build(spec) for spec in specs)


def _check_keys(table: Mapping[str, Any], known: Sequence[str], place: str) -> None:
    for key in table:
        if key not in known:
            raise ValueError(f"{place}: {no_such('key', key, known, 'unknown')}")


def _is_seed(value: Any) -> bool:
    return type(value) is int and SEED.min <= value <= SEED.max  # type: ignore[operator]


def _sort_key(planned: PlannedRun) -> tuple[str, int, list[str]]:
    """Sort key: model, seed, stages. A pipeline then follows those that are a prefix of it."""
    stages = [" ".join(stage.argv()) for stage in planned.pipeline.stages]
    return str(planned.model), planned.seed, stages
