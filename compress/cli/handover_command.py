"""The code of `compress export` and `compress verify`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compress import registry, zoo
from compress.cli import console
from compress.cli.options import with_task
from compress.data.dataset import Dataset
from compress.handover.export import CHECKSUMS, ROW, Handover
from compress.handover.export import export as write
from compress.handover.verify import Check, file_checks, measured_again, missing, row_checks
from compress.input_file import regular
from compress.model_files.file_kind import suffix_of
from compress.model_files.load import load_model
from compress.rows.jsonl import read_from
from compress.rows.result import Result
from compress.runs.folder import MANIFEST, RunFolder
from compress.tasks.task import Task
from compress.text import printable
from compress.tflite.model import TFLiteModel

MAX_ROW_BYTES = 10_000_000


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A kept file, with its row if there is one."""

    name: str
    model: TFLiteModel
    row: Result | None = None


def export(
    source: str,
    to: Path,
    name: str | None,
    examples: int,
    out: Path,
    as_json: bool,
    **of_task: Any,
) -> None:
    """Write the handover folder of a model, and list its files.

    Raises:
      ValueError: there is no such file or run, or it cannot be handed over.
    """
    found = _source(source, out)
    asked = _asked(of_task, found.row)
    images, labels, scale = _examples(found, asked, examples)
    handed = Handover(
        name=name or found.name,
        model=found.model,
        labels=labels,
        images=images,
        input_scale=scale if asked else of_task["input_scale"],
        row=found.row,
    )
    files = write(handed, to)
    if as_json:
        console.say_json({"folder": str(to), "files": files})
        return
    console.print_records([{"file": f, "bytes": (to / f).stat().st_size} for f in files])
    console.say(f"{len(files)} files in {to}; `compress verify {to}` checks them.")


def verify(source: str, out: Path, results: Path, as_json: bool, **of_task: Any) -> None:
    """Repeat the measurements of a row on its kept file, and show for each field whether it is equal.

    Raises:
      ValueError: a field is not equal, or there is no such run or folder.
    """
    checks: list[Check] = []
    unmeasured: list[str] = []
    path = Path(source)
    if (path / CHECKSUMS).exists():
        checks += file_checks(path)
        if not all(check.equal for check in checks):
            _show(checks, source, as_json)  # raises: nothing else in such a folder is read
        found = _exported(path)
    else:
        found = _source(source, out)
        if found.row is None:
            raise ValueError(
                f"{source} has no row to verify: name a run folder, a run, or an exported folder."
            )
        # A model of the zoo has its own row. The row of its training in these results may be about another file.
        others = [] if zoo.named(source) or not results.exists() else read_from(results)
        if kept := [row for row in others if _same(row, found.row)]:
            checks += row_checks(found.row, kept[-1], str(results))
    if found.row is not None and all(check.equal for check in checks):
        asked = _asked(of_task, found.row)
        if asked is not None:
            checks += measured_again(found.row, found.model, asked.load(), asked.scale)[0]
            unmeasured = missing(found.row)
    _show(checks, source, as_json, unmeasured)


def _show(checks: list[Check], source: str, as_json: bool, unmeasured: Sequence[str] = ()) -> None:
    """Show the checks and the fields that could not be measured. ValueError if a field is not equal."""
    wrong = [check for check in checks if not check.equal]
    if as_json:
        record = [
            {"field": c.field, "equal": c.equal, "recorded": c.recorded, "found": c.found}
            for c in checks
        ]
        more = {"not_measured": list(unmeasured)} if unmeasured else {}
        console.say_json({"source": source, "equal": not wrong, "checks": record} | more)
    else:
        shown = [{"field": c.field, "is": "equal" if c.equal else "not equal"} for c in checks]
        console.print_records(shown + [{"field": n, "is": "not measured"} for n in unmeasured])
    if unmeasured:
        console.progress().note(
            f"{source}: not measured, because tflite-micro is not installed: {', '.join(unmeasured)}; "
            "pip install 'compress-cnn[micro]'."
        )
    if wrong:
        told = "; ".join(
            f"{c.field} is recorded as {c.recorded!r:.60} and found to be {c.found!r:.60}"
            for c in wrong[:5]
        )
        raise ValueError(f"{source}: {len(wrong)} of {len(checks)} fields are not equal: {told}.")
    if not as_json:
        kind = "measured fields" if unmeasured else "fields"
        console.say(f"{source}: all {len(checks)} {kind} are equal.")


def _source(source: str, out: Path) -> _Source:
    """A `.tflite` file, a run folder, a model of the zoo, or the run in `out` whose key begins with these digits."""
    if model := zoo.named(source):
        loaded = load_model(model.file)
        file = loaded if isinstance(loaded, TFLiteModel) else loaded.to_tflite()
        return _Source(name=model.name, model=file, row=Result.from_record(model.row))
    path = Path(source)
    if not path.exists() and re.fullmatch(r"[0-9a-f]{6,64}", source):
        found = sorted(out.glob(f"*-{source[:12]}*"))
        if len(found) != 1:
            raise ValueError(
                f"{len(found)} runs in {out} have a key that begins with {source}; expected one."
            )
        (path,) = found
    finished = RunFolder(path).load() if (path / MANIFEST).exists() else None
    if finished is not None:
        kept = TFLiteModel.load(RunFolder(path).model_file("tflite"))
        return _Source(name="model", model=kept, row=finished.row)
    if not path.is_file():
        raise ValueError(f"{source}: no .tflite file, no run folder, and no run in {out}.")
    suffix = suffix_of(path)
    if suffix != ".tflite":
        raise ValueError(
            f"{source} is a {suffix} file; expected a .tflite file, as `compress run` keeps it."
        )
    return _Source(name=path.stem, model=TFLiteModel.load(path))


def _exported(folder: Path) -> _Source:
    files = sorted(folder.glob("*.tflite"))
    if len(files) != 1:
        raise ValueError(
            f"{folder} has {len(files)} .tflite files; expected one, as `compress export` writes."
        )
    (file,), row = files, None
    if (path := folder / ROW).exists():
        if regular(path).stat().st_size > MAX_ROW_BYTES:
            raise ValueError(f"{path} has more than {MAX_ROW_BYTES:,} bytes: it is not a row.")
        try:
            row = Result.from_record(json.loads(path.read_bytes()))
        except (RecursionError, ValueError) as error:
            raise ValueError(f"{path} is not a row: {error}") from error
    return _Source(name=file.stem, model=TFLiteModel.load(file), row=row)


def _same(row: Result, other: Result) -> bool:
    return (row.run, row.measured_on) == (other.run, other.measured_on)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """The task whose data are used, with the options for them."""

    task: Task
    name: str
    data: Path | None
    input_scale: float | None

    def load(self) -> Dataset:
        return self.task.load(self.data, console.progress().note)

    @property
    def scale(self) -> float:
        return self.input_scale or self.task.input_scale


def _asked(of_task: Mapping[str, Any], row: Result | None) -> _Asked | None:
    """The task of these options, otherwise that of the row; None if there is neither.

    Raises:
      ValueError: no task is named, and the task of the row is not installed. Code that a row names is not executed.
    """
    name = of_task["task"] or (row.task if row else None)
    if name is None:
        return None
    if not of_task["task"] and name not in registry.task_names():
        raise ValueError(
            f"the row is about task {name!r:.60}, which is not installed: name the task, as in --task MODULE:OBJECT."
        )
    values = with_task({**of_task, "task": name})
    recorded = row.recorded.get("input_scale") if row else None
    known = float(recorded) if isinstance(recorded, (int, float)) else None
    scale = values["input_scale"] or known
    return _Asked(task=values["task"], name=name, data=values["data"], input_scale=scale)


def _examples(
    source: _Source, asked: _Asked | None, examples: int
) -> tuple[np.ndarray, list[str], float | None]:
    """Golden inputs, class labels and input scale of the task. Without a task: random inputs, numbered labels, None."""
    shape, classes = _shape_and_classes(source.model)
    if asked is None:
        drawn = np.random.default_rng(0).integers(0, 256, (examples, *shape), np.uint8)
        return drawn, [f"class {number}" for number in range(classes)], None
    dataset = asked.load()
    images = dataset.validation.images[:examples]
    if images.shape[1:] != shape or len(dataset.classes) != classes:
        raise ValueError(
            f"the file takes {list(shape)} and gives {classes} scores; task {asked.name} has examples of "
            f"{list(images.shape[1:])} and {len(dataset.classes)} classes: name the task it was made for."
        )
    return images, [printable(name) for name in dataset.classes], asked.scale


def _shape_and_classes(model: TFLiteModel) -> tuple[tuple[int, ...], int]:
    """The shape of an input, without the batch, and the number of scores. ValueError if there is not one of each."""
    inputs, outputs = model.graph.inputs, model.graph.outputs
    if len(inputs) != 1 or len(outputs) != 1 or not inputs[0].shape or not outputs[0].shape:
        raise ValueError(
            f"the file has {len(inputs)} inputs and {len(outputs)} outputs; expected one of each, in batches."
        )
    return tuple(inputs[0].shape[1:]), outputs[0].shape[-1]
