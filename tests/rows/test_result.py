"""Rows: JSON round trip, complete lines from concurrent writers, and refusals that name the line."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import multiprocessing
import os
import resource
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from compress.rows.bits import pack_bits, unpack_bits
from compress.rows.field_check import Between
from compress.rows.jsonl import append_to, read_from
from compress.rows.measurement import RUNS, Measurement
from compress.rows.result import Result, TrainedOn
from support.report_rows import bits, digest, pruned

SCHEMA_1 = Path(__file__).parent / "schema_1.jsonl"
ROW = pruned(
    bits(3, 4), params=None, notes=["a note of two\nlines, with \u2028 and é"], machine="one"
)
KINDS = get_type_hints(Result, include_extras=True)
IN_ROWS = {name: kind for name, kind in KINDS.items() if name != "extra"}


def write_rows(path: Path, writer: int) -> None:
    """Append 20 rows; several processes run this function at the same time."""
    for number in range(20):
        append_to(path, dataclasses.replace(ROW, seed=writer, commit=f"{number} " + "x" * 5000))


def changed(**fields: Any) -> str:
    return json.dumps(json.loads(ROW.to_json()) | fields)


TEXTS = [
    "",
    "x",
    "2026-01-02T03:04:05+00:00",
    "f" * 64,
    "F" * 64,
    "g" * 64,
    "f" * 63,
    "f" * 64 + "\n",
]
OF_ANOTHER_TYPE: dict[Any, list[Any]] = {
    float: ["0.5", None, True, [0.5], float("nan"), float("inf"), 10**400],
    int: [1.5, "1", None, True, 10**400],
    str: [1, None, ["x"]],
    dict: [[], "x", None],
    list: [{}, "x", None],
}


def outside(kind: Any) -> list[Any]:
    """JSON values that are invalid for an annotated type: of another type, or just outside its range."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return outside(inner[0]) + [v for limit in inner[1:] for v in beyond(inner[0], limit)]
    if origin in (Union, UnionType):
        return [value for value in outside(inner[0]) if value is not None]
    if origin is dict:
        return OF_ANOTHER_TYPE[dict] + [{"key": value} for value in outside(inner[1])]
    if origin is list:
        return OF_ANOTHER_TYPE[list] + [[value] for value in outside(inner[0])]
    if origin is Literal:
        return ["neither", None, 1]
    return [float("nan")] if kind is Any else OF_ANOTHER_TYPE[kind]


def beyond(kind: type, limit: Any) -> list[Any]:
    if not isinstance(limit, Between):
        return [text for text in TEXTS if not limit.holds(text)]
    ends = [(limit.low, -math.inf), (limit.high, math.inf)]
    steps = [v + (1 if to > 0 else -1) if kind is int else math.nextafter(v, to) for v, to in ends]
    return [v for v in steps if math.isfinite(v)]


def within(kind: Any) -> st.SearchStrategy[Any]:
    """Valid values of an annotated type."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        (limit,) = inner[1:]
        if not isinstance(limit, Between):
            return st.sampled_from([text for text in TEXTS if limit.holds(text)])
        high = None if limit.high == math.inf else limit.high
        made: Any = st.integers if inner[0] is int else st.floats
        more = {} if inner[0] is int else {"allow_nan": False, "allow_infinity": False}
        return made(limit.low, high, **more)
    if origin in (Union, UnionType):
        return st.none() | within(inner[0])
    if origin is dict:
        return st.dictionaries(st.text(), within(inner[1]), max_size=3)
    if origin is list:
        return st.lists(within(inner[0]), max_size=3)
    if origin is Literal:
        return st.sampled_from(inner)
    finite = st.floats(allow_nan=False, allow_infinity=False)
    plain = st.none() | st.booleans() | st.integers() | finite | st.text()
    return plain | st.lists(plain) if kind is Any else st.text()


# Fields whose values must agree with other fields: see `consistent`.
BOUND = (
    *("top1", "top1_low", "top1_high", "test_images", "correct", "stored_params"),
    *("nonzero_params", "weight_types", "gzip_bytes", "splits", "pipeline", "trained_on"),
    *("file_parts", "on_micro", "arena_bytes", "arena_parts"),
)


@st.composite
def rows(draw: st.DrawFn) -> Result:
    """Valid rows with arbitrary values."""
    correct = draw(arrays(bool, st.integers(1, 40)))
    top1 = float(correct.mean())
    types = draw(st.dictionaries(st.text(), st.integers(0, 10**9), max_size=3))
    stored = sum(types.values())
    free = {name: draw(within(kind)) for name, kind in IN_ROWS.items() if name not in BOUND}
    return Result(
        **free,
        top1=top1,
        top1_low=draw(st.floats(0, top1)),
        top1_high=draw(st.floats(top1, 1)),
        test_images=len(correct),
        correct=pack_bits(correct),
        stored_params=stored,
        nonzero_params=draw(st.integers(0, stored)),
        weight_types=types,
        gzip_bytes=free["file_bytes"],
        **draw(st.just({}) | st.integers(0, 10**9).map(on_tflm)),
        file_parts=draw(st.none() | st.just({"weights": free["file_bytes"], "padding": 0})),
        splits={name: digest(name) for name in ("train", "validation", "test")},
        trained_on="train" if free["measured_on"] == "validation" else draw(within(TrainedOn)),
        pipeline=[{"stage": "x", **draw(within(dict[str, Any]))}],
        extra={f"new {key}": value for key, value in draw(within(dict[str, Any])).items()},
    )


def on_tflm(arena: int) -> dict[str, Any]:
    """The fields of a row about a file that TFLM runs."""
    parts = {"head": arena // 2, "tail": arena - arena // 2}
    return {"on_micro": RUNS, "arena_bytes": arena, "arena_parts": parts}


@pytest.mark.parametrize(
    "fields",
    [
        on_tflm(100) | {"arena_bytes": 99},
        on_tflm(100) | {"arena_parts": None},
        on_tflm(100) | {"on_micro": "it has no kernel for GELU"},
    ],
    ids=["a sum that is not that", "no parts", "an arena of what does not run"],
)
def test_contradictory_tflm_fields_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="'arena"):
        dataclasses.replace(ROW, **fields)


@given(rows())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_row_is_unchanged_by_json(row: Result) -> None:
    line = row.to_json()
    assert Result.from_json(line) == row
    assert len(line.splitlines()) == 1


@given(arrays(bool, st.integers(0, 70)))
@settings(deadline=None)
def test_bits_are_unchanged_by_packing(correct: np.ndarray) -> None:
    assert (unpack_bits(pack_bits(correct), len(correct)) == correct).all()


def test_append_creates_the_folder_and_rows_are_read_oldest_first(tmp_path: Path) -> None:
    path = tmp_path / "reports" / "results.jsonl"
    rows = [dataclasses.replace(ROW, seed=seed) for seed in range(3)]
    for row in rows:
        append_to(path, row)
    assert read_from(path) == rows


def test_concurrent_writers_leave_complete_lines(tmp_path: Path) -> None:
    path, writers = tmp_path / "results.jsonl", 4
    with ProcessPoolExecutor(writers, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(write_rows, [path] * writers, range(writers)))
    rows = read_from(path)
    assert len(rows) == writers * 20
    for writer in range(writers):
        own = [int(row.commit.split()[0]) for row in rows if row.seed == writer]
        assert own == list(range(20))


def test_a_disk_that_fills_up_during_a_write_leaves_the_file_unchanged(
    tmp_path: Path,
) -> None:
    path = tmp_path / "results.jsonl"
    append_to(path, ROW)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, hard))
    try:
        with pytest.raises(OSError, match="only part of a row could be written"):
            append_to(path, ROW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    append_to(path, ROW)
    assert read_from(path) == [ROW, ROW]


def test_a_disk_that_fails_after_the_write_leaves_the_file_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.jsonl"
    append_to(path, ROW)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            append_to(path, ROW)
    assert path.read_bytes() == before


def test_a_row_is_appended_correctly_after_a_missing_final_newline(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(ROW.to_json())
    append_to(path, ROW)
    assert read_from(path) == [ROW, ROW]


def refused(path: Path, line: str) -> str:
    """The error for a file whose second row is `line`."""
    path.write_text(f"{ROW.to_json()}\n{line}\n")
    with pytest.raises(ValueError, match=r"results\.jsonl, line 2: ") as error:
        read_from(path)
    return str(error.value)


@pytest.mark.parametrize("name", IN_ROWS)
def test_a_value_outside_the_range_of_its_field_is_refused(name: str, tmp_path: Path) -> None:
    values = outside(IN_ROWS[name])
    assert values
    for value in values:
        said = refused(tmp_path / "results.jsonl", changed(**{name: value}))
        assert f"line 2: field {name!r}" in said, value
        assert "; expected " in said, value


def test_every_number_of_a_row_has_a_range() -> None:
    def bare(kind: Any) -> bool:
        """True if a type is a number without a range, or a list or dict of such numbers."""
        if get_origin(kind) is Annotated:
            return False
        return kind in (int, float) or any(map(bare, get_args(kind)))

    assert [name for name, kind in KINDS.items() if bare(kind)] == []
    assert bare(dict[str, float])


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"cross_entropy": -5}, "'cross_entropy' is -5; expected a number of 0 or more"),
        ({"sparsity": 7}, "'sparsity' is 7; expected a number from 0 to 1"),
        (
            {"kernel_sparsity": {"a": 0.5, "b": 7}},
            "field 'kernel_sparsity' at 'b' is 7; expected a number from 0 to 1",
        ),
        ({"file_bytes": 10}, "'file_bytes' is 10; expected a whole number of 100 or more"),
        ({"model": "m" * 64}, "; expected a text of 64 hex digits, a SHA-256"),
        ({"params": "many"}, "is 'many'; expected a whole number of 0 or more or null"),
        ({"schema": 3}, "field 'schema' is 3; expected a whole number from 1 to 2"),
        ({"time": "yesterday"}, "'yesterday'; expected a text that is a time in ISO 8601"),
        ({"time": "0001-01-01T00:00:00+05:00"}, "a time in ISO 8601, of a year from 2 to 9998"),
        ({"time": "9999-12-31T23:59:59-05:00"}, "a time in ISO 8601, of a year from 2 to 9998"),
        ({"later": [{"a": math.inf}]}, "field 'extra' at 'later' at 0 at 'a' is inf; expected a "),
        # Values that contradict other fields.
        ({"top1": 0.5}, "'top1' is 0.5; expected 3 of 4, as many as 'correct' marks"),
        ({"top1_low": 0.8}, "'top1_low' is 0.8; expected at most top1, 0.75"),
        ({"top1_high": 0.7}, "'top1_high' is 0.7; expected at least top1, 0.75"),
        ({"nonzero_params": 117_699}, "expected at most stored_params, 117698"),
        ({"weight_types": {"int8": 5}}, "expected numbers that add up to stored_params, 117698"),
        ({"file_parts": {"weights": 1}}, "expected numbers that add up to file_bytes, 480000"),
        ({"file_parts": {"weights": 480_001, "padding": -1}}, "'file_parts' at 'padding' is -1"),
        ({"weight_coding": {"stored_bits": -1.0}}, "'weight_coding' at 'stored_bits' is -1.0"),
        ({"gzip_bytes": 480_545}, "480545; expected 465 to 480544 for a file of 480000 bytes"),
        ({"gzip_bytes": 464}, "'gzip_bytes' is 464; expected 465 to 480544"),
        ({"splits": {"train": "a" * 64}}, "; expected the digest of the test split"),
        ({"splits": {"test": "a" * 64}}, "; expected the digest of the train split"),
        (
            {"measured_on": "validation", "splits": {"test": "a" * 64}},
            "; expected the digest of the validation split",
        ),
        (
            {"measured_on": "validation", "trained_on": "train+validation"},
            "'validation'; expected other images than those of trained_on, train+validation",
        ),
        ({"measured_on": "train"}, "'train'; expected 'test' or 'validation'"),
        ({"pipeline": [{"sparsity": 1}]}, "expected specs that each name their stage"),
        # The packed bits of correct images.
        ({"correct": ""}, "field 'correct' is ''; expected 1 bytes in base64"),
        ({"correct": "~~~~"}, "field 'correct' is '~~~~'; expected 1 bytes in base64"),
        ({"correct": "0A==\n"}, "expected 1 bytes in base64"),
        ({"correct": "0B=="}, "expected 1 bytes in base64"),
        ({"correct": "0AA="}, "expected 1 bytes in base64"),
        ({"correct": "0A"}, "expected 1 bytes in base64"),
        ({"correct": "é"}, "expected 1 bytes in base64"),
        ({"correct": "4Q=="}, "a bit for each of 4 images and zeros after the last"),
        ({"test_images": 2**62, "top1": 0.0, "top1_low": 0.0}, "a bit for each of"),
    ],
    ids=str,
)
def test_an_impossible_row_is_refused_in_a_sentence(
    fields: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    said = refused(tmp_path / "results.jsonl", changed(**fields))
    assert sentence in said
    assert said.endswith("; correct that line or take it out.")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (json.dumps({"top1": 0.5}), "field 'top1_low' is missing; expected a number from 0 to 1"),
        ("[1, 2]", "a row is a JSON object, this is [1, 2]"),
        ('{"top1": ', "Expecting value"),
        ("[" * 100_000, "recursion"),
        (
            changed(label="prune \ud800"),
            "a lone surrogate, half of a character; expected whole ones",
        ),
        (changed(notes=["a", "\udcff"]), "half of a character"),
        (changed(versions={"\ud800": "3"}), "half of a character"),
        (changed(later={"unknown": ["\ud800"]}), "half of a character"),
    ],
)
def test_a_line_that_is_not_a_row_is_refused(line: str, sentence: str, tmp_path: Path) -> None:
    assert sentence in refused(tmp_path / "results.jsonl", line)


def test_an_impossible_number_is_never_written() -> None:
    for field, value in {"cross_entropy": float("nan"), "sparsity": 1.5}.items():
        with pytest.raises(ValueError, match=f"field '{field}' is {value}; expected a number"):
            dataclasses.replace(ROW, **{field: value})


@given(arrays(bool, st.integers(1, 70)), st.data())
def test_packed_bits_have_only_one_valid_text(correct: np.ndarray, data: st.DataObject) -> None:
    text = pack_bits(correct)
    at = data.draw(st.integers(0, len(text) - 1))
    other = text[:at] + data.draw(st.characters()) + text[at + 1 :]
    try:
        read = unpack_bits(other, len(correct))
    except ValueError:
        return
    assert pack_bits(read) == other


# Rows of other releases


def test_rows_of_schema_1_are_read_and_written_unchanged() -> None:
    lines = SCHEMA_1.read_text().splitlines()
    rows = read_from(SCHEMA_1)
    assert len(rows) == len(lines) > 5
    for row, line in zip(rows, lines, strict=True):
        written = json.loads(line)
        assert "schema" not in written
        assert (row.schema, row.extra) == (1, {})
        assert {name: getattr(row, name) for name in written} == written
        assert row.to_json() == line


def test_fields_of_schema_1_are_required_in_every_row(tmp_path: Path) -> None:
    """They are required even if they could be empty, except `params`, which could always be null."""
    line = json.loads(SCHEMA_1.read_text().splitlines()[0])
    for name in line.keys() - {"params"}:
        without = json.dumps({k: v for k, v in line.items() if k != name})
        assert f"field {name!r} is missing" in refused(tmp_path / "results.jsonl", without)


def test_a_missing_optional_field_is_read_as_none() -> None:
    absent = json.loads(ROW.to_json())
    del absent["params"]
    assert Result.from_record(absent).params is None


def test_a_record_omits_defaults_and_schema_1_gets_no_new_fields() -> None:
    """A new optional field must not change existing rows or the digest of a report made from them."""
    fields = {f.name: f for f in dataclasses.fields(Result)}
    new = {"schema", "measured_on", "trained_on"}
    missing = dataclasses.MISSING
    first = {f.name for f in fields.values() if (f.default, f.default_factory) == (missing,) * 2}
    assert ROW.record().keys() == first | new
    assert read_from(SCHEMA_1)[0].record().keys() == first


def test_new_rows_have_schema_2() -> None:
    assert json.loads(ROW.to_json())["schema"] == 2


def test_unknown_fields_are_kept_when_a_row_is_read_and_written(tmp_path: Path) -> None:
    new = {"watts": 3.5, "extra": {"watts": [1, None]}, "phones": {"a": 1}}
    row = Result.from_json(changed(**new))
    append_to(tmp_path / "rows.jsonl", row)
    (again,) = read_from(tmp_path / "rows.jsonl")
    assert again == row != ROW
    assert new.items() <= json.loads((tmp_path / "rows.jsonl").read_text()).items()
    later = dataclasses.replace(again, seed=7)
    assert new.items() <= later.record().items()


def test_an_unknown_field_with_the_name_of_a_known_field_is_refused() -> None:
    with pytest.raises(ValueError, match=r"field 'extra' is .*; expected none of the fields"):
        dataclasses.replace(ROW, extra={"top1": 1.0})


def test_a_measurement_outside_the_range_of_its_field_is_refused() -> None:
    fields = {f.name for f in dataclasses.fields(Measurement)}
    values = {name: getattr(ROW, name) for name in fields}
    assert Measurement(**values).top1 == ROW.top1
    with pytest.raises(ValueError, match="field 'macs' is -1; expected a whole number of 0"):
        Measurement(**values | {"macs": -1})
