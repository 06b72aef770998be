"""LatencyRow: how long two files took against each other. Rows of their own kind, in a file of their own."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

KIND = "latency"


@dataclass(frozen=True, kw_only=True)
class LatencyRow:
    """What one comparison found. Times are those of one machine at one time; the ratio is the figure."""

    files: list[
        dict[str, Any]
    ]  # name, digest, bytes, macs and input type of each; the second is held against the first
    ratio: (
        float | None
    )  # of the second one's time to the first one's: the median over rounds; None for a single file
    ratio_low: float | None  # 95 % interval, bootstrap over rounds
    ratio_high: float | None
    milliseconds: list[list[float]]  # [rounds][files], the mean for one input
    inputs_a_round: int
    engine: str
    instruction_sets: list[str]
    machine: str
    versions: dict[str, str]
    commit: str
    command: str
    time: str  # UTC, ISO 8601

    def to_json(self) -> str:
        """One line of JSON, keys sorted."""
        return json.dumps(
            {"kind": KIND} | dataclasses.asdict(self), sort_keys=True, allow_nan=False
        )
