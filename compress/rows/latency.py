"""LatencyRow: the measured times of one file, or of two files compared. A separate file holds these rows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.rows.field_check import Count, NotNegative, check
from compress.rows.jsonl import read_lines

KIND = "latency"


@dataclass(frozen=True, kw_only=True)
class LatencyRow:
    """The result of one comparison. The times hold for one machine at one time; the ratio is the result to report.

    Raises:
      ValueError: a field does not have its annotated type, or contradicts another field.
    """

    files: list[
        dict[str, Any]
    ]  # name, digest, bytes, macs and input type of each; the second is compared with the first
    ratio: (
        NotNegative | None
    )  # time of the second file divided by that of the first: the median over rounds; None for one file
    ratio_low: NotNegative | None  # 95 % interval, bootstrap over rounds
    ratio_high: NotNegative | None
    milliseconds: list[list[NotNegative]]  # [rounds][files], the mean for one input
    inputs_a_round: Count
    engine: str
    instruction_sets: list[str]
    machine: str
    versions: dict[str, str]
    commit: str
    command: str
    time: str  # UTC, ISO 8601

    def __post_init__(self) -> None:
        check(self, self._contradictions())

    def _contradictions(self) -> Iterator[tuple[str, str]]:
        if not all(isinstance(file.get("digest"), str) for file in self.files):
            yield "files", "objects that each have the 'digest' of a file"
        ratios = (self.ratio, self.ratio_low, self.ratio_high)
        if any((value is not None) != (len(self.files) == 2) for value in ratios):
            yield "ratio", "a number, with its interval, if and only if two files are there"

    def to_json(self) -> str:
        """One line of JSON, keys sorted."""
        return json.dumps(
            {"kind": KIND} | dataclasses.asdict(self), sort_keys=True, allow_nan=False
        )

    @classmethod
    def from_json(cls, line: bytes) -> LatencyRow:
        """The row that `to_json` wrote. A ValueError says what is wrong."""
        try:
            values = json.loads(line)
        except ValueError as error:
            raise ValueError("that is not a line of JSON.") from error
        if not isinstance(values, dict) or values.pop("kind", None) != KIND:
            raise ValueError("that is not a row that `compress latency` wrote.")
        wanted = {field.name for field in dataclasses.fields(cls)}
        if wrong := wanted ^ values.keys():
            names = ", ".join(sorted(map(str, wrong)))
            raise ValueError(f"fields are missing, or too many: {names}.")
        return cls(**values)


def read_latencies(path: Path) -> list[LatencyRow]:
    """All rows of a file, oldest first. A ValueError names the line of a row that cannot be read."""
    return read_lines(path, LatencyRow.from_json)
