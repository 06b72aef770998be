"""A row measured again from the kept file, and compared field by field."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.data.dataset import Dataset
from compress.handover.export import CHECKSUMS
from compress.input_file import regular
from compress.measurement import on_micro
from compress.measurement.measure import digest_of_test, measure
from compress.measurement.predictions import Predictions
from compress.micro import interpreter as micro_interpreter
from compress.rows.measurement import Measurement
from compress.rows.result import Result
from compress.tflite.model import TFLiteModel

# Floats are equal if they differ by at most this, absolute or relative: the order of a sum may change them.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Check:
    """One field: the recorded value and the value that was found."""

    field: str
    recorded: Any
    found: Any

    @property
    def equal(self) -> bool:
        return _alike(self.recorded, self.found)


def missing(row: Result) -> list[str]:
    """The fields of a row that cannot be measured here: those that TFLM gives, if tflite-micro is not installed."""
    if micro_interpreter.is_installed():
        return []
    return [field for field in on_micro.FIELDS if getattr(row, field) is not None]


def measured_again(
    row: Result,
    model: TFLiteModel,
    data: Dataset,
    input_scale: float,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[Check], Predictions]:
    """A check for every measured field that the row has, and for the digests of the splits and of the predictions.

    The fields in `missing` are left out.

    Args:
      model: the kept file.
      input_scale: of the run; the network sees float32 pixel * input_scale.

    Raises:
      ValueError: the file is damaged or does not fit the data.
    """
    on = row.measured_on
    splits = {"train": data.train.digest, "validation": data.validation.digest}
    if "test" in row.splits:
        splits["test"] = digest_of_test(data)
    checks = [Check("tflite_digest", row.tflite_digest, model.digest)]
    checks += [Check(f"splits.{name}", row.splits[name], splits.get(name)) for name in row.splits]
    left_out = missing(row)
    asked = row.micro_top1 is not None and not left_out
    found, predicted = measure(model, data, input_scale, progress, on=on, micro_accuracy=asked)
    for field in dataclasses.fields(Measurement):
        recorded = getattr(row, field.name)
        # A field that is newer than the row was not measured for it.
        if recorded is not None and field.name not in ("tflite_digest", *left_out):
            checks.append(Check(field.name, recorded, getattr(found, field.name)))
    if row.predictions is not None:
        checks.append(Check("predictions", row.predictions, predicted.digest))
    return checks, predicted


def row_checks(one: Result, other: Result, what: str) -> list[Check]:
    """A check for each field of one row against the same row kept in another place, which `what` names."""
    pairs = (one.record(), other.record())
    names = sorted(set(pairs[0]) | set(pairs[1]))
    return [Check(f"{what}: {n}", *(pair.get(n) for pair in pairs)) for n in names]


def file_checks(folder: Path) -> Iterator[Check]:
    """A check for each file of an exported folder against its checksum, and for files that are missing or new.

    Raises:
      ValueError: the folder has no list of checksums.
    """
    path = folder / CHECKSUMS
    if not path.is_file():
        raise ValueError(f"{folder} has no {CHECKSUMS}: it is not what `compress export` writes.")
    recorded = {}
    for line in regular(path).read_text(errors="replace").splitlines():
        # A name with a slash would lead out of the folder.
        if (found := re.fullmatch(r"([0-9a-f]{64})  ([\w.-]+)", line)) is None:
            raise ValueError(f"{path} holds a line that is not a checksum: {line!r:.80}.")
        recorded[found[2]] = found[1]
    there = {p.name: p for p in folder.iterdir() if p.name != CHECKSUMS}
    for name in sorted(set(recorded) | set(there)):
        found_digest = _digest(there[name]) if name in there else "no such file"
        yield Check(name, recorded.get(name, "no checksum"), found_digest)


def _digest(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        return "not a regular file"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, float) or isinstance(other, float):
        numbers = all(isinstance(v, (int, float)) for v in (one, other))
        return numbers and math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    if isinstance(one, dict) and isinstance(other, dict):
        return set(one) == set(other) and all(_alike(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    return type(one) is type(other) and bool(one == other)
