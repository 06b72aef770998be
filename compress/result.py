"""Result: one model, measured: one row. Rows are appended to a file of JSON lines and never edited."""

from __future__ import annotations

import base64
import dataclasses
import fcntl
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What measuring the exported file on the test images gave. Fractions are in [0, 1]."""

    top1: float
    top1_low: float  # 95 % Wilson interval
    top1_high: float
    cross_entropy: float  # mean, natural logarithm
    test_images: int
    correct: str  # which test images were right, in the order of the test split: see `pack_bits`
    stored_params: (
        int  # numbers in the file's weight and bias tensors, BatchNormalization being folded in
    )
    nonzero_params: int
    sparsity: float  # fraction of kernel weights that are zero, all kernels together
    kernel_sparsity: dict[str, float]  # tensor name -> the same, a kernel at a time
    macs: int  # multiply-accumulates for one image
    file_bytes: int
    gzip_bytes: int  # the file after gzip -9
    weight_types: dict[str, int]  # type of stored weights -> how many are stored as that
    tflite_digest: str  # SHA-256 of the file


@dataclass(frozen=True, kw_only=True)
class Result(Measurement):
    """One row: a measurement with all that it takes to repeat it."""

    run: str  # digest that names the run folder
    task: str
    data: str  # name of the data; rows of different data are never compared
    splits: dict[str, str]  # train, validation, test -> SHA-256 of the split
    pipeline: list[dict[str, Any]]  # specs of the stages, in order; empty: the model that came in
    label: str  # the stages as typed: "prune --sparsity 0.5"; "baseline" if there are none
    model: (
        str  # digest of the model that came in, the same for a baseline and all that was made of it
    )
    params: int | None  # as Keras counts them; None if only a .tflite was there
    seed: int
    seconds: float  # spent in this row's last stage
    peak_memory_bytes: int
    notes: list[str]
    commit: str
    command: str
    versions: dict[str, str]
    machine: str
    time: str  # when the row was made, UTC, ISO 8601

    def to_json(self) -> str:
        """One line of JSON, keys sorted. ValueError if a number is not finite: JSON has no word for it."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, line: str | bytes) -> Result:
        """The row of a line. ValueError if a field is missing, unknown or of another type."""
        values = json.loads(line)
        if not isinstance(values, dict):
            raise ValueError(f"a row is a JSON object, this is {line[:40]!r}.")
        known = {f.name for f in dataclasses.fields(cls)}
        odd = sorted(known ^ set(values))
        if odd:
            raise ValueError(f"row with unknown or missing fields: {', '.join(odd)}.")
        kinds = get_type_hints(cls)
        for field in dataclasses.fields(cls):
            if not _is_a(values[field.name], kinds[field.name]):
                raise ValueError(
                    f"field {field.name!r} is {values[field.name]!r:.40}; expected {field.type}."
                )
        return cls(**values)


def _is_a(value: Any, kind: Any) -> bool:
    """Whether a JSON value is of an annotated type; an int passes as a float, a bool not as a number."""
    if kind is Any:
        return True
    if isinstance(kind, UnionType):
        return any(_is_a(value, k) for k in get_args(kind))
    if get_origin(kind) is dict:
        _, inner = get_args(kind)
        return isinstance(value, dict) and all(_is_a(v, inner) for v in value.values())
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_is_a(v, get_args(kind)[0]) for v in value)
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is kind


def pack_bits(correct: np.ndarray) -> str:
    """Base64 of a bool [n] array, 8 images a byte.

    >>> unpack_bits(pack_bits(np.array([True, False, True])), 3).tolist()
    [True, False, True]
    """
    return base64.b64encode(np.packbits(correct).tobytes()).decode()


def unpack_bits(text: str, n: int) -> np.ndarray:
    """The bool [n] array that `pack_bits` wrote."""
    packed = np.frombuffer(base64.b64decode(text), dtype=np.uint8)
    return np.unpackbits(packed, count=n).astype(bool)


def append_to(path: Path, result: Result) -> None:
    """Append one row, whole or not at all, also when another process appends at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = (result.to_json() + "\n").encode()
    with path.open("a+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        end = os.fstat(file.fileno()).st_size
        if end and os.pread(file.fileno(), 1, end - 1) != b"\n":
            line = b"\n" + line  # an editor left the last row without an end
        try:
            if os.write(file.fileno(), line) != len(line):
                raise OSError(f"{path}: the disk took only part of a row.")
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), end)
            raise


def read_from(path: Path) -> list[Result]:
    """All rows, oldest first. ValueError naming the line of a row that cannot be read."""
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            rows.append(Result.from_json(line))
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(
                f"{path}, line {number}: {str(error).rstrip('.')}; correct that line or take it out."
            ) from error
    return rows
