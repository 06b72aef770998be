"""`compress compare`: any two runs, rows or model files on the same images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compress.cli import console
from compress.cli.options import with_task
from compress.data.dataset import Dataset
from compress.measurement import predictions
from compress.model_files.file_kind import suffix_of
from compress.model_files.load import load_model
from compress.pipelines import setup
from compress.report import pair, text
from compress.rows.jsonl import read_from
from compress.rows.result import Result
from compress.runs.folder import MANIFEST, RunFolder
from compress.tasks.task import Task


def compare(first: str, second: str, results: Path, as_json: bool, **values: Any) -> None:
    """Hold one model against another and show what parts them.

    Raises:
      ValueError: a word names no model, or the two were not measured on the same images.
    """
    words = (first, second)
    rows = read_from(results) if results.exists() else []
    found = [None if Path(word).is_file() else _row(word, rows, results) for word in words]
    files = [Path(word) for word, row in zip(words, found, strict=True) if row is None]
    for file in files:
        suffix_of(file)  # before the data is looked for
    asked = with_task(values)
    task: Task = asked["task"]
    data = task.load(asked["data"], console.progress().note) if files else None
    sides = [
        _of_file(Path(word), task, data, asked) if row is None and data
        else _of_row(row, results)  # type: ignore[arg-type]
        for word, row in zip(words, found, strict=True)
    ]  # fmt: skip
    record = pair.held_against(*sides)
    if as_json:
        console.say_json(record)
        return
    _print(record)


def _row(word: str, rows: list[Result], results: Path) -> Result:
    """The row that a word names: a run folder, the beginning of a run digest, or a label."""
    folder = Path(word)
    if (folder / MANIFEST).is_file():
        finished = RunFolder(folder).load()
        if finished:
            return finished.row
    named = [r for r in rows if (len(word) > 3 and r.run.startswith(word)) or r.label == word]
    runs = {r.run: r for r in named}  # of the same run the last row counts
    if len(runs) == 1:
        return next(iter(runs.values()))
    if not runs:
        raise ValueError(
            f"{word!r} is no model file, no run folder, and no row of {results}; a row is named by its label, such as "
            "'prune --sparsity 0.5', or by its run, as the report shows it."
        )
    which = ", ".join(f"{text.short(r.run)} (seed {r.seed})" for r in runs.values())
    raise ValueError(f"{word!r} names {len(runs)} runs of {results}: {which}; name one of them.")


def _of_row(row: Result, results: Path) -> pair.Side:
    path = predictions.file_beside(results, row)
    labels = predictions.read(path, row).labels if path and path.is_file() else None
    name = f"{row.label} (run {text.short(row.run)})"
    return pair.Side(name, row, row.splits[row.measured_on], labels, row.classes)


def _of_file(file: Path, task: Task, data: Dataset, asked: dict[str, Any]) -> pair.Side:
    note = console.progress().note
    setup.check_declared_shapes(file, task, data)
    model = load_model(file, asked["trust"])
    measured, _, _ = setup.evaluated(model, task, data, asked["input_scale"], note=note)
    test = data.open_test()
    return pair.Side(str(file), measured, test.digest, test.labels, data.classes)


def _print(record: dict[str, Any]) -> None:
    console.say(record["verdict"], "")
    shown = {
        "top-1, %": lambda s: text.with_interval(s["top1"], s["top1_low"], s["top1_high"]),
        "cross-entropy": lambda s: text.decimals(s["cross_entropy"], 4),
        "file": lambda s: text.kilobytes(s["file_bytes"]),
        "gzip": lambda s: text.kilobytes(s["gzip_bytes"]),
        "arena": lambda s: text.kilobytes(s["arena_bytes"]),
    }
    console.print_records(
        [
            {"model": side["name"], **{heading: cell(side) for heading, cell in shown.items()}}
            for side in (record["a"], record["b"])
        ]
    )
    only_a, only_b = f"{record['only_a_right']:,}", f"{record['only_b_right']:,}"
    console.say(
        "",
        f"Of {record['images']:,} {record['measured_on']} images the first alone gets {only_a} right, the second alone "
        f"{only_b}; exact McNemar test, p = {text.p_value(record['p'])}.",
    )
    if record["per_class"]:
        console.say("")
        console.print_records(
            [
                {
                    "class": each["class"],
                    "images": each["images"],
                    "first alone right": each["only_a_right"],
                    "second alone right": each["only_b_right"],
                    "difference, points": text.points(each["difference"], "+"),
                }
                for each in record["per_class"]
            ]
        )
