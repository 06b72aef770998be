"""Result: the row of one measured model, with everything needed to repeat it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from compress.rows.field_check import (
    Between,
    Count,
    Digest,
    Fraction,
    Name,
    NotNegative,
    Time,
    allows_none,
    check,
    expected,
    kinds_of,
)
from compress.rows.measurement import Measurement, contradictions

TrainedOn = Literal["train", "train+validation"]

# The schema of new rows. Raise it when older code would misread a new row. A new field needs no new schema: an absent
# field was not measured, and an unknown field is kept as it is.
SCHEMA = 2


@dataclass(frozen=True, kw_only=True)
class Result(Measurement):
    """One row: a measurement with everything needed to repeat it."""

    run: Digest  # names the run folder
    task: Name
    data: Name  # rows of different data are never compared
    splits: dict[str, Digest]  # train, validation, test -> digest of the split
    pipeline: list[dict[str, Any]]  # specs of the stages, in order; empty for the incoming model
    label: Name  # the stages as typed: "prune --sparsity 0.5"; "baseline" if there are none
    model: Digest  # of the incoming model; a baseline and all models made from it share it
    params: Count | None  # as Keras counts them; None if there was only a .tflite file
    seed: Count
    seconds: NotNegative  # spent in this row's last stage
    peak_memory_bytes: Count
    notes: list[str]
    commit: Name
    command: str
    versions: dict[str, str]
    machine: str
    time: Time  # when the row was made, UTC, ISO 8601
    # File name of the incoming model; None if it is the task's own model, or if the name was not recorded.
    model_file: Name | None = None
    trained_on: TrainedOn = "train"
    recorded: dict[str, Any] = dataclasses.field(default_factory=dict)  # see `TaskView.record`
    # Accuracy on validation images after each epoch of the last stage; None if that stage did not train.
    curve: list[Fraction] | None = None
    classes: list[str] | None = None  # names of the classes, in the order of labels
    predictions: Digest | None = (
        None  # of the predictions for all images: see measurement/predictions.py
    )
    schema: Annotated[int, Between(1, SCHEMA)] = SCHEMA
    extra: dict[str, Any] = dataclasses.field(
        default_factory=dict
    )  # fields that this code does not know

    def __post_init__(self) -> None:
        check(self, contradictions(self), _contradictions(self))

    def record(self) -> dict[str, Any]:
        """The row as a JSON object, unknown fields included.

        Values that were not measured are left out. A row of schema 1 is written without the fields added later.
        """
        values = dict(self.extra)
        for field in _fields().values():
            value, default = getattr(self, field.name), _default(field)
            if value != default or _is_required(field) or (default and self.schema > 1):
                values[field.name] = value
        if self.schema == 1:
            del values["schema"]
        return values

    def to_json(self) -> str:
        """One line of JSON, keys sorted."""
        return json.dumps(self.record(), sort_keys=True, allow_nan=False)

    @classmethod
    def from_record(cls, values: Mapping[str, Any]) -> Result:
        """The row that a JSON object holds. An absent field was not measured; an unknown field is kept.

        Raises:
          ValueError: a required field is absent, or a value has the wrong type or range.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"a row is a JSON object, this is {values!r:.40}.")
        try:
            json.dumps(dict(values), ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError:
            raise ValueError(
                "a text holds a lone surrogate, half of a character; expected whole ones."
            ) from None
        # Rows of schema 1 do not have the field `schema`.
        row_values = {"schema": 1} | dict(values)
        extra = {name: row_values.pop(name) for name in set(row_values) - set(_fields())}
        for name, field in _fields().items():
            if name in row_values or not _is_required(field):
                continue
            kind = kinds_of(cls)[name]
            if not allows_none(kind):
                raise ValueError(f"field {name!r} is missing; expected {expected(kind)}.")
            row_values[name] = None
        return cls(**row_values, extra=extra)

    @classmethod
    def from_json(cls, line: str | bytes) -> Result:
        """The row of a line; see `from_record`."""
        return cls.from_record(json.loads(line))


def _contradictions(row: Result) -> Iterator[tuple[str, str]]:
    """(field, what was expected) for each field that other fields contradict."""
    if row.measured_on not in row.splits:
        yield ("splits", f"the digest of the {row.measured_on} split")
    if "train" not in row.splits:
        yield ("splits", "the digest of the train split")
    if row.measured_on in row.trained_on.split("+"):
        yield ("measured_on", f"other images than those of trained_on, {row.trained_on}")
    if not all(isinstance(spec.get("stage"), str) for spec in row.pipeline):
        yield ("pipeline", "specs that each name their stage")
    if set(row.extra) & set(_fields()):
        yield ("extra", "none of the fields that a row has")


def _fields() -> dict[str, dataclasses.Field[Any]]:
    """The fields of a row by name."""
    return {f.name: f for f in dataclasses.fields(Result) if f.name != "extra"}


def _is_required(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _default(field: dataclasses.Field[Any]) -> Any:
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()
