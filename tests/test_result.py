"""Rows: JSON and back, whole lines from many writers, and refusals that name the line."""

from __future__ import annotations

import dataclasses
import errno
import json
import multiprocessing
import os
import resource
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from compress.result import Result, append_to, pack_bits, read_from, unpack_bits

ROW = Result(
    top1=0.75,
    top1_low=0.3,
    top1_high=0.95,
    cross_entropy=0.5,
    test_images=4,
    correct=pack_bits(np.array([True, True, False, True])),
    stored_params=10,
    nonzero_params=6,
    sparsity=0.5,
    kernel_sparsity={"kernel": 0.5},
    macs=100,
    file_bytes=2000,
    gzip_bytes=1000,
    weight_types={"float32": 10},
    tflite_digest="d" * 64,
    run="r" * 64,
    task="toy",
    data="toy",
    splits={"train": "a", "validation": "b", "test": "c"},
    pipeline=[{"stage": "prune", "sparsity": 0.5}],
    label="prune --sparsity 0.5",
    model="m" * 64,
    params=None,
    seed=0,
    seconds=1.5,
    peak_memory_bytes=10**9,
    notes=["a note of two\nlines, with \u2028 and é"],
    commit="abc",
    command="compress run prune",
    versions={"keras": "3"},
    machine="one",
    time="2025-01-01T00:00:00+00:00",
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def write_rows(path: Path, writer: int) -> None:
    """What each of many processes does at once."""
    for number in range(20):
        append_to(path, dataclasses.replace(ROW, seed=writer, commit=f"{number} " + "x" * 5000))


def changed(**fields: Any) -> str:
    return json.dumps(json.loads(ROW.to_json()) | fields)


@given(FINITE, st.text(), st.lists(st.text()), st.none() | st.integers(), st.integers())
def test_a_row_is_the_same_after_json(
    top1: float, label: str, notes: list[str], params: int | None, seed: int
) -> None:
    row = dataclasses.replace(
        ROW, top1=top1, label=label, notes=notes, params=params, seed=seed, machine=label
    )
    line = row.to_json()
    assert Result.from_json(line) == row
    assert len(line.splitlines()) == 1


@given(arrays(bool, st.integers(0, 70)))
def test_bits_are_the_same_after_packing(correct: np.ndarray) -> None:
    assert (unpack_bits(pack_bits(correct), len(correct)) == correct).all()


def test_rows_come_back_oldest_first_from_a_folder_that_was_not_there(tmp_path: Path) -> None:
    path = tmp_path / "reports" / "results.jsonl"
    rows = [dataclasses.replace(ROW, seed=seed) for seed in range(3)]
    for row in rows:
        append_to(path, row)
    assert read_from(path) == rows


def test_many_processes_at_once_leave_whole_lines(tmp_path: Path) -> None:
    path, writers = tmp_path / "results.jsonl", 4
    with ProcessPoolExecutor(writers, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(write_rows, [path] * writers, range(writers)))
    rows = read_from(path)
    assert len(rows) == writers * 20
    for writer in range(writers):
        own = [int(row.commit.split()[0]) for row in rows if row.seed == writer]
        assert own == list(range(20))


def test_a_disk_that_fills_up_in_the_middle_of_a_row_leaves_the_file_as_it_was(
    tmp_path: Path,
) -> None:
    path = tmp_path / "results.jsonl"
    append_to(path, ROW)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, hard))
    try:
        with pytest.raises(OSError, match="took only part of a row"):
            append_to(path, ROW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    append_to(path, ROW)
    assert read_from(path) == [ROW, ROW]


def test_a_disk_that_fails_after_the_write_leaves_the_file_as_it_was(
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


def test_a_last_row_without_an_end_is_not_glued_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(ROW.to_json())
    append_to(path, ROW)
    assert read_from(path) == [ROW, ROW]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (changed(speed=1), "unknown or missing fields: speed"),
        (json.dumps({"top1": 0.5}), "unknown or missing fields: command, commit"),
        (changed(top1="0.75"), "field 'top1' is '0.75'; expected float"),
        (changed(top1=float("nan")), "field 'top1' is nan; expected float"),
        (changed(test_images=1.5), "field 'test_images' is 1.5; expected int"),
        (changed(seed=True), "field 'seed' is True; expected int"),
        (changed(params="many"), r"field 'params' is 'many'; expected int \| None"),
        (changed(notes="one"), r"field 'notes' is 'one'; expected list\[str\]"),
        (changed(weight_types={"int8": "x"}), r"'weight_types' is .*; expected dict\[str, int\]"),
        (changed(pipeline=["prune"]), "field 'pipeline' is"),
        ("[1, 2]", "a row is a JSON object"),
        ('{"top1": ', "Expecting value"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_by_its_line(
    tmp_path: Path, line: str, sentence: str
) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(f"{ROW.to_json()}\n{line}\n")
    with pytest.raises(ValueError, match=rf"results\.jsonl, line 2: .*{sentence}"):
        read_from(path)


def test_a_number_that_is_not_finite_is_never_written(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_to(path, dataclasses.replace(ROW, cross_entropy=float("nan")))
    assert not path.exists()
