"""Latency rows are written, read back, and refused if they are invalid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compress.rows.jsonl import append_to
from compress.rows.latency import LatencyRow, read_latencies

FIELDS: dict[str, Any] = {
    "files": [{"digest": "a", "file": "a.tflite"}, {"digest": "b", "file": "b.tflite"}],
    "ratio": 0.5, "ratio_low": 0.4, "ratio_high": 0.6, "milliseconds": [[2.0, 1.0]], "inputs_a_round": 8,
    "engine": "LiteRT", "instruction_sets": ["AVX2"], "machine": "x86_64", "versions": {"numpy": "2"},
    "commit": "c", "command": "compress latency b.tflite --against a.tflite", "time": "2026-01-02T03:04:05+00:00",
}  # fmt: skip


def test_rows_are_read_back_unchanged(tmp_path: Path) -> None:
    both, one = LatencyRow(**FIELDS), {"files": FIELDS["files"][:1], "milliseconds": [[2.0]]}
    alone = LatencyRow(**(FIELDS | one | dict.fromkeys(("ratio", "ratio_low", "ratio_high"))))
    for each in (both, alone):
        append_to(tmp_path / "latency.jsonl", each)
    assert read_latencies(tmp_path / "latency.jsonl") == [both, alone]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"ratio": "fast"}, "field 'ratio' is 'fast'; expected a number of 0 or more or null"),
        ({"ratio": None}, "expected a number, with its interval, if and only if two files"),
        ({"files": FIELDS["files"][:1]}, "expected a number, with its interval, if and only if"),
        ({"files": [{}, {}]}, "the 'digest' of a file"),
        ({"milliseconds": [1.0]}, "field 'milliseconds' at 0 is 1.0; expected a list"),
        ({"kind": "row"}, "not a row that `compress latency` wrote"),
        ({"colour": "red"}, "fields are missing, or too many: colour"),
    ],
)
def test_a_broken_row_is_named_with_its_line(
    tmp_path: Path, changed: dict[str, Any], words: str
) -> None:
    path = tmp_path / "latency.jsonl"
    append_to(path, LatencyRow(**FIELDS))
    line = json.loads(path.read_text()) | changed
    path.write_text(path.read_text() + json.dumps(line) + "\n")
    with pytest.raises(ValueError, match=words.replace("(", r"\(")) as caught:
        read_latencies(path)
    assert f"{path}, line 2: " in str(caught.value)


def test_a_line_that_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latency.jsonl").write_text("{\n")
    with pytest.raises(ValueError, match=r"line 1: that is not a line of JSON; correct"):
        read_latencies(tmp_path / "latency.jsonl")
