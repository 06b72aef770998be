"""Limits: the maximum bytes of flash, bytes of arena and multiply-accumulates of a file that a search may find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from compress.rows.measurement import Measurement

FLAGS = {"flash": "--max-flash", "arena": "--max-arena", "macs": "--max-macs"}
UNITS = {"flash": "bytes", "arena": "bytes of RAM", "macs": "multiply-accumulates"}
FIELDS = {"flash": "file_bytes", "arena": "arena_bytes", "macs": "macs"}  # fields of a row
BEYOND = 1e9  # the excess of a file without an arena, because TFLM does not run it


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The given limits; None: no limit."""

    flash: int | None = None
    arena: int | None = None
    macs: int | None = None

    @property
    def given(self) -> dict[str, int]:
        """The limits that are set: name -> maximum."""
        return {name: most for name, most in asdict(self).items() if most is not None}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The limits in a JSON object of the form of `given`."""
        return cls(**record)

    def excesses(self, row: Measurement) -> list[float]:
        """The excess of a measured file over each limit, as a share of the limit; at most 0 if the file keeps to it."""
        amounts = {name: getattr(row, FIELDS[name]) for name in self.given}
        return self.excesses_of(amounts, unknown=BEYOND)

    def excesses_of(
        self, amounts: Mapping[str, float | None], *, unknown: float = 0.0
    ) -> list[float]:
        """The excesses, as in `excesses`, of amounts by name.

        Args:
          unknown: the excess for an amount that is None.

        >>> Limits(flash=1000, macs=50).excesses_of({"flash": 1500, "macs": None})
        [0.5, 0.0]
        """
        return [
            unknown if (amount := amounts.get(name)) is None else (amount - most) / most
            for name, most in self.given.items()
        ]
