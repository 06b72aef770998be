"""Latencies in the report: of the right files, relative to the right baseline, on one processor."""

from __future__ import annotations

from typing import Any

from compress.report import columns, comparison_page, tables
from compress.report.compare import Record
from compress.rows.latency import LatencyRow
from support.report_rows import bits, digest, flipped, pruned, row

BASE = bits(9000)
AVX2, VNNI = ["AVX2"], ["AVX2", "AVX512-VNNI"]


def time_of(ratio: float | None, *files: str, sets: list[str] = AVX2, **fields: Any) -> LatencyRow:
    """A latency row of the files with these digests; a row of one file has no ratio."""
    made: dict[str, Any] = {
        "files": [{"digest": digest(name)} for name in files], "ratio": ratio,
        "ratio_low": ratio and ratio * 0.9, "ratio_high": ratio and ratio * 1.1, "milliseconds": [[1.0] * len(files)],
        "inputs_a_round": 8, "engine": "an engine", "instruction_sets": sets, "machine": "a machine", "versions": {},
        "commit": "", "command": "compress latency", "time": "2026-01-02T03:04:05+00:00",
    }  # fmt: skip
    return LatencyRow(**(made | fields))


def records(*times: LatencyRow) -> list[Record]:
    """The records of a baseline and of two models made from it."""
    rows = [
        row(BASE),
        pruned(flipped(BASE, 60, 50), 0.5, tflite_digest=digest("half")),
        pruned(flipped(BASE, 60, 50), 0.8, tflite_digest=digest("most")),
    ]
    return tables.records(tables.compared(rows, [], None, times))


def test_a_row_has_the_latency_of_its_file_relative_to_the_baseline() -> None:
    base, half, most = records(time_of(0.5, "file", "half"), time_of(0.4, "half", "most"))
    assert (base["latency"], half["latency"], most["latency"]) == (1, 0.5, None)
    assert columns.TIME.cell(half) == "50.0 % (45.0 % to 55.0 %)"
    assert columns.TIME.cell(most) == ""
    told = "Times against the baseline's are those of a machine, with AVX2: an engine."
    assert told in comparison_page.notes([base, half, most])


def test_without_a_latency_against_the_baseline_rows_have_none() -> None:
    lines = records(time_of(None, "half"), time_of(0.5, "other", "half"))
    assert [r["latency"] for r in lines] == [None] * 3
    assert not [n for n in comparison_page.notes(lines) if n.startswith("Times")]


def test_latencies_come_from_the_processor_with_most_files_and_the_latest_row() -> None:
    times = [
        time_of(0.2, "file", "half", sets=VNNI),
        time_of(0.5, "file", "half"),
        time_of(0.6, "file", "half"),
        time_of(0.7, "file", "most"),
    ]
    _, half, most = records(*times)
    assert (half["latency"], most["latency"]) == (0.6, 0.7)
    assert half["latency_on"] == most["latency_on"] == "a machine, with AVX2: an engine"


def test_a_file_timed_often_on_one_processor_counts_as_one_file() -> None:
    often = [time_of(0.2, "file", "half", sets=VNNI) for _ in range(3)]
    files = [time_of(0.5, "file", "half"), time_of(0.7, "file", "most")]
    _, half, most = records(*often, *files)
    assert (half["latency"], most["latency"]) == (0.5, 0.7)
    assert most["latency_on"] == "a machine, with AVX2: an engine"
