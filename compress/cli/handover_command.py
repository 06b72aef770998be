"""What `compress export` and `compress verify` do."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress import registry
from compress.cli import console
from compress.data.dataset import Dataset
from compress.handover.export import CHECKSUMS, ROW, Handover
from compress.handover.export import export as write
from compress.handover.verify import Check, file_checks, measured_again, row_checks
from compress.input_file import regular
from compress.model_files.file_kind import suffix_of
from compress.rows.jsonl import read_from
from compress.rows.result import Result
from compress.runs.folder import MANIFEST, RunFolder
from compress.tasks.task import Task
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
    task: str | None,
    data: Path | None,
    input_scale: float | None,
    out: Path,
    as_json: bool,
) -> None:
    """Write the folder that hands a model over, and list its files.

    Raises:
      ValueError: there is no such file or run, or it cannot be handed over.
    """
    found = _source(source, out)
    if found.row is not None:
        task, input_scale = task or found.row.task, input_scale or _scale(found.row)
    images, labels, scale = _examples(found.model, task, data, input_scale, examples)
    handed = Handover(
        name=name or found.name,
        model=found.model,
        labels=labels,
        images=images,
        input_scale=scale,
        row=found.row,
    )
    files = write(handed, to)
    if as_json:
        console.say_json({"folder": str(to), "files": files})
        return
    console.print_records([{"file": f, "bytes": (to / f).stat().st_size} for f in files])
    console.say(f"{len(files)} files in {to}; `compress verify {to}` checks them.")


def verify(
    source: str,
    task: str | None,
    data: Path | None,
    input_scale: float | None,
    out: Path,
    results: Path,
    as_json: bool,
) -> None:
    """Measure again what a row says, from the kept file, and show field by field whether that is equal.

    Raises:
      ValueError: something is not equal, or there is no such run or folder.
    """
    checks: list[Check] = []
    path = Path(source)
    if (path / CHECKSUMS).exists():
        checks += file_checks(path)
        found = _exported(path)
    else:
        found = _source(source, out)
        if found.row is None:
            raise ValueError(
                f"{source} has no row to verify: name a run folder, a run, or an exported folder."
            )
        kept = [r for r in (read_from(results) if results.exists() else []) if _same(r, found.row)]
        if kept:
            checks += row_checks(found.row, kept[-1], str(results))
    if found is not None and found.row is not None and all(check.equal for check in checks):
        chosen, dataset = _data(task or found.row.task, data)
        scale = input_scale or _scale(found.row) or chosen.input_scale
        checks += measured_again(found.row, found.model, dataset, scale)[0]
    _show(checks, source, as_json)


def _show(checks: list[Check], source: str, as_json: bool) -> None:
    wrong = [check for check in checks if not check.equal]
    if as_json:
        record = [
            {"field": c.field, "equal": c.equal, "recorded": c.recorded, "found": c.found}
            for c in checks
        ]
        console.say_json({"source": source, "equal": not wrong, "checks": record})
    else:
        console.print_records(
            [{"field": c.field, "is": "equal" if c.equal else "not equal"} for c in checks]
        )
    if wrong:
        told = "; ".join(
            f"{c.field} is recorded as {c.recorded!r:.60} and found to be {c.found!r:.60}"
            for c in wrong[:5]
        )
        raise ValueError(f"{source}: {len(wrong)} of {len(checks)} fields are not equal: {told}.")
    if not as_json:
        console.say(f"{source}: all {len(checks)} fields are equal.")


def _source(source: str, out: Path) -> _Source:
    """A `.tflite` file, a run folder, or the run in `out` whose key begins with these digits."""
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
        model = TFLiteModel.load(RunFolder(path).model_file("tflite"))
        return _Source(name="model", model=model, row=finished.row)
    if not path.is_file():
        raise ValueError(f"{source}: no .tflite file, no run folder, and no run in {out}.")
    suffix = suffix_of(path)
    if suffix != ".tflite":
        raise ValueError(
            f"{source} is a {suffix} file; expected a .tflite file, as `compress run` keeps it."
        )
    return _Source(name=path.stem, model=TFLiteModel.load(path))


def _exported(folder: Path) -> _Source:
    (file,) = folder.glob("*.tflite")
    row = None
    if (path := folder / ROW).exists():
        if regular(path).stat().st_size > MAX_ROW_BYTES:
            raise ValueError(f"{path} has more than {MAX_ROW_BYTES:,} bytes: it is no row.")
        row = Result.from_record(json.loads(path.read_bytes()))
    return _Source(name=file.stem, model=TFLiteModel.load(file), row=row)


def _same(row: Result, other: Result) -> bool:
    return (row.run, row.measured_on) == (other.run, other.measured_on)


def _scale(row: Result) -> float | None:
    scale = row.recorded.get("input_scale")
    return float(scale) if isinstance(scale, (int, float)) else None


def _data(task: str, data: Path | None) -> tuple[Task, Dataset]:
    chosen = registry.task(task)
    return chosen, chosen.load(data, console.progress().note)


def _examples(
    model: TFLiteModel,
    task: str | None,
    data: Path | None,
    input_scale: float | None,
    examples: int,
) -> tuple[np.ndarray, list[str], float | None]:
    """Images of golden examples, labels of the classes, and the input scale: of the task, else drawn, and numbers."""
    shape = model.graph.inputs[0].shape[1:]
    if task is None:
        drawn = np.random.default_rng(0).integers(0, 256, (examples, *shape), np.uint8)
        classes = model.graph.outputs[0].shape[-1]
        return drawn, [f"class {number}" for number in range(classes)], input_scale
    chosen, dataset = _data(task, data)
    images = dataset.validation.images[:examples]
    if images.shape[1:] != shape or len(dataset.classes) != model.graph.outputs[0].shape[-1]:
        raise ValueError(
            f"the file takes {list(shape)} and gives {model.graph.outputs[0].shape[-1]} scores; task {task} has images "
            f"of {list(images.shape[1:])} and {len(dataset.classes)} classes: name the task it was made for."
        )
    return images, list(dataset.classes), input_scale or chosen.input_scale
