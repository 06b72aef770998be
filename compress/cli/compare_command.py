"""`compress compare`: compare any two runs, rows or model files on the same images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compress import zoo
from compress.cli import console
from compress.cli.options import with_task
from compress.data.dataset import Dataset
from compress.files import write_bytes
from compress.keras_models.model import KerasModel
from compress.measurement import predictions
from compress.measurement.latency import milliseconds, ratio
from compress.measurement.measure import digest_of_test, measure
from compress.measurement.predictions import Predictions
from compress.model_files.file_kind import suffix_of
from compress.model_files.load import load_model
from compress.pipelines import setup
from compress.report import pair, pair_page, text
from compress.rows.jsonl import read_from
from compress.rows.result import Result
from compress.runs.folder import MANIFEST, RunFolder
from compress.tasks.task import Task

ROUNDS, INPUTS = 21, 20  # of timing

_Side = tuple[pair.Side, Predictions | None]  # and its predictions, if they are known


def compare(
    first: str,
    second: str,
    results: Path,
    html: Path | None,
    latency: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Compare two models and show how they differ.

    Raises:
      ValueError: a word names no model, or the two were not measured on the same images, or a model to time has no
        file here.
    """
    words = [str(model.file) if (model := zoo.named(w)) else w for w in (first, second)]
    rows = read_from(results) if results.exists() else []
    found = [None if Path(word).is_file() else _row(word, rows, results) for word in words]
    files = [Path(word) for word, row in zip(words, found, strict=True) if row is None]
    for file in files:
        suffix_of(file)  # before looking for the data
    asked = with_task(values)
    contents = [_content(word, asked["trust"]) for word in words] if latency else []
    task: Task = asked["task"]
    data = task.load(asked["data"], console.progress().note) if files or asked["data"] else None
    sides = [
        _of_file(Path(word), task, data, asked) if row is None and data else _of_row(*row)  # type: ignore[misc]
        for word, row in zip(words, found, strict=True)
    ]
    record = pair.held_against(*(side for side, _ in sides))
    if latency:
        record = pair.with_latency(record, ratio(milliseconds(contents[::-1], ROUNDS, INPUTS)))
    if html:
        page = pair_page.pair_page(record, _sheets(record, sides, data))
        write_bytes(html, page.encode(errors="replace"))
        console.progress().note(f"wrote {html}")
    if as_json:
        console.say_json(record)
        return
    _print(record)


def _content(word: str, trust: bool) -> bytes:
    """The content of the `.tflite` file of a model file or a run folder."""
    path = Path(word)
    if path.is_dir():
        path = RunFolder(path).model_file("tflite")
    if not path.is_file():
        raise ValueError(
            f"--latency times files, and {word!r} is a row: name its run folder or its file."
        )
    model = load_model(path, trust)
    return (model.to_tflite() if isinstance(model, KerasModel) else model).content


def _sheets(
    record: dict[str, Any], sides: list[_Side], data: Dataset | None
) -> list[tuple[str, list[pair_page.Flip]]]:
    """The images that only one of the two gets right; empty if the images or the predictions are not at hand."""
    (one, first), (_, second) = sides
    if data is None or first is None or second is None:
        return []
    split = data.open_test() if record["measured_on"] == "test" else data.validation
    if split.digest != one.split_digest or split.is_features:
        return []
    return [
        (
            f"Only the {'second' if won else 'first'} is right: the most confident errors of the other",
            pair_page.flips(split.images, first, second, data.classes, won),
        )
        for won in (True, False)
    ]


def _row(word: str, rows: list[Result], results: Path) -> tuple[Result, Path | None]:
    """The row that a word names, and where its predictions are kept.

    The word is a run folder, the beginning of a run digest, or a label.
    """
    folder = Path(word)
    if (folder / MANIFEST).is_file():
        finished = RunFolder(folder).load()
        if finished:
            return finished.row, RunFolder(folder).predictions_file(finished.row)
    named = [r for r in rows if (len(word) > 3 and r.run.startswith(word)) or r.label == word]
    # The last row of a run counts. A baseline is only measured, so its model identifies it, whatever the seed.
    runs = {r.run if r.pipeline else r.model: r for r in named}
    if len(runs) == 1:
        row = next(iter(runs.values()))
        return row, predictions.file_beside(results, row)
    if not runs:
        raise ValueError(
            f"{word!r} is not a model file, a run folder or a row of {results}; name a row by its label, such as "
            "'prune --sparsity 0.5', or by its run, as the report shows it."
        )
    which = ", ".join(f"{text.short(r.run)} (seed {r.seed})" for r in runs.values())
    raise ValueError(f"{word!r} names {len(runs)} runs of {results}: {which}; name one of them.")


def _of_row(row: Result, path: Path | None) -> _Side:
    said = predictions.read(path, row) if row.predictions and path and path.is_file() else None
    name, labels = f"{row.label} (run {text.short(row.run)})", said.labels if said else None
    return pair.Side(name, row, row.splits[row.measured_on], labels, row.classes), said


def _of_file(file: Path, task: Task, data: Dataset, asked: dict[str, Any]) -> _Side:
    setup.check_declared_shapes(file, task, data)
    model = load_model(file, asked["trust"])
    fitted_task, found = setup.fitted(model, task, data, asked["input_scale"])
    for sentence in found:
        console.progress().note(sentence)
    exported = model.to_tflite() if isinstance(model, KerasModel) else model
    measured, said = measure(exported, data, fitted_task.input_scale)
    split = digest_of_test(data)
    return pair.Side(str(file), measured, split, said.labels, data.classes), said


def _print(record: dict[str, Any]) -> None:
    only_a, only_b = f"{record['only_a_right']:,}", f"{record['only_b_right']:,}"
    console.say(record["verdict"], "")
    console.print_records(pair_page.models(record))
    console.say(
        "",
        f"Of {record['images']:,} {record['measured_on']} images the first alone gets {only_a} right, the second alone "
        f"{only_b}; exact McNemar test, p = {text.p_value(record['p'])}.",
    )
    if record["per_class"]:
        console.say("")
        console.print_records(pair_page.classes(record))
