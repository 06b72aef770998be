"""The work for a report grows linearly with the number of rows. The work is counted, not timed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import compress.report
from compress.report import comparison_page, front, tables
from compress.report.scene import scene
from compress.rows.result import Result
from compress.statistics import significance
from support.report_rows import bits, digest, flipped, pruned, row

REPORT = str(Path(compress.report.__file__).parent)


def instructions(work: Callable[[], object]) -> int:
    """Count the bytecode instructions of the report package that run during `work`."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.startswith(REPORT):
            return None
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def rows(count: int) -> list[Result]:
    """Rows in groups of ten: a baseline and nine models made from it."""
    made = []
    for index in range(count):
        model = digest(str(index // 10))
        base = bits(90, 100, index // 10)
        if index % 10 == 0:
            made.append(row(base, model=model))
        else:
            size = 480_000 - 1000 * (index % 97)
            correct = flipped(base, index % 7, index % 3, index)
            made.append(pruned(correct, model=model, seed=index, file_bytes=size))
    return made


def growth(work: Callable[[list[Result]], object]) -> float:
    """Growth of the work from 200 to 400 rows divided by its growth from 100 to 200 rows: 2 if it is linear."""
    few, some, many = (instructions(lambda n=n: work(rows_of[n])) for n in rows_of)
    return (many - some) / (some - few)


rows_of = {n: rows(n) for n in (100, 200, 400)}


def test_the_work_of_comparing_rows_grows_linearly() -> None:
    assert growth(lambda some: tables.compared_records(some, [])) < 2.4


def test_the_work_of_the_picture_and_the_notes_grows_linearly() -> None:
    records = {n: tables.compared_records(rows_of[n], []) for n in rows_of}

    def work(some: list[Result]) -> None:
        part = records[len(some)]
        assert scene(part, front.AXES[0], []) is not None
        front.answer(part, front.AXES[0])
        comparison_page.notes(part)

    assert growth(work) < 2.4


def test_an_exact_interval_needs_at_most_10_evaluations_on_average(monkeypatch: Any) -> None:
    asked: list[float] = []
    real = significance.beta_below
    monkeypatch.setattr(significance, "beta_below", lambda *a: asked.append(a[0]) or real(*a))
    rng = np.random.default_rng(0)
    for successes in rng.integers(1, 1000, 100).tolist():
        significance.clopper_pearson(successes, 10_007, 1 - 0.05 / 3000)
    assert len(asked) <= 100 * 2 * 5
