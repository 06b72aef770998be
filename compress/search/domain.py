"""Domains: the values of an option that a search may choose, derived from the option's click type."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import click

from compress import typed_options
from compress.text import no_such

INSIDE = 0.01  # an excluded end of a range is moved inwards by this share of the range
DIGITS = 4  # significant digits of a chosen number; numbers that differ by less give the same run
KEYS = ("low", "high", "step", "log")


class Chooser(Protocol):
    """Chooses values, as a trial of Optuna does."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...
    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...
    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int: ...


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Any, ...]

    def chosen(self, chooser: Chooser, name: str) -> Any:
        """The chosen value. Optuna stores plain values, so a list is stored as its JSON."""
        word = chooser.suggest_categorical(name, [_plain(value) for value in self.values])
        return next(value for value in self.values if _plain(value) == word)

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values that are tried to find the smallest file: all values, in the form that a chooser gives."""
        return tuple(map(_plain, self.values))


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float
    step: float | None = None
    log: bool = False
    whole: bool = False

    def chosen(self, chooser: Chooser, name: str) -> float:
        """The chosen number, rounded to DIGITS significant digits."""
        if self.whole:
            step = 1 if self.step is None else int(self.step)
            return chooser.suggest_int(name, int(self.low), int(self.high), step=step, log=self.log)
        number = chooser.suggest_float(name, self.low, self.high, step=self.step, log=self.log)
        return min(self.high, max(self.low, float(f"{number:.{DIGITS}g}")))

    @property
    def numbers(self) -> tuple[float, ...]:
        """The numbers from low to high at intervals of one step; both ends if there is no step.

        >>> Range(0.25, 0.4, 0.05).numbers
        (0.25, 0.3, 0.35, 0.4)
        """
        if self.step is None:
            return self.ends
        count = int((self.high - self.low) / self.step + 1e-9) + 1
        return tuple(float(f"{self.low + n * self.step:.{DIGITS}g}") for n in range(count))

    @property
    def ends(self) -> tuple[float, ...]:
        """The values that are tried to find the smallest file: both ends."""
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)


Domain = Choice | Range


def parsed(field: dataclasses.Field[Any], given: Any, where: str) -> Domain:
    """The domain that a space gives an option.

    Args:
      given: a value; a list of values; or a table with some of low, high, step and log. An end that the table leaves
        out is that of the option: an empty table is the whole range of the option.
      where: stage and option, for the start of every error message.

    Raises:
      ValueError: the option does not take such values.
    """
    if isinstance(given, Mapping):
        return _of_table(field, given, where)
    # The value of an option that may be repeated is a list itself.
    alone = typed_options.repeatable(field) and isinstance(given, list) and not _nested(given)
    values = given if isinstance(given, list) and not alone else [given]
    if not values:
        raise ValueError(f"{where}: the list is empty; expected at least one value.")
    return Choice(tuple(dict.fromkeys(_value(field, value, where) for value in values)))


def _of_table(field: dataclasses.Field[Any], table: Mapping[str, Any], where: str) -> Domain:
    kind = field.metadata["kind"]
    for key in table:
        if key not in KEYS:
            raise ValueError(f"{where}: {no_such('key', key, KEYS)}")
    if isinstance(kind, click.Choice | click.types.BoolParamType):
        if table:
            raise ValueError(
                f"{where}: it is not a number; give a list of values, or {{}} for all."
            )
        return Choice((False, True) if not isinstance(kind, click.Choice) else tuple(kind.choices))
    if not isinstance(kind, click.IntRange | click.FloatRange):
        raise ValueError(f"{where}: it is not a number; give a list of values.")
    whole = isinstance(kind, click.IntRange)
    if not isinstance(table.get("log", False), bool):
        raise ValueError(f"{where}: log is {table['log']!r}; expected true or false.")
    low = _end(field, table, "low", where)
    high = _end(field, table, "high", where)
    step = table.get("step")
    if step is not None:
        is_number = type(step) is int or (type(step) is float and not whole)
        if not is_number or not 0 < step <= sys.float_info.max:
            numbers = "a whole number" if whole else "a number"
            raise ValueError(f"{where}: step is {step!r:.100}; expected {numbers} above 0.")
    if low > high:
        raise ValueError(f"{where}: low is {low:g} and high {high:g}; expected low first.")
    log = bool(table.get("log"))
    if log and (step is not None or low <= 0):
        raise ValueError(f"{where}: log requires a low above 0 and no step.")
    return Range(low, high, step, log, whole)


def _end(field: dataclasses.Field[Any], table: Mapping[str, Any], end: str, where: str) -> float:
    """An end of a range: as given, otherwise from the option's click type."""
    if end in table:
        value: float = _value(field, table[end], where)
        return value
    kind = field.metadata["kind"]
    bound, is_open, other = (
        (kind.min, kind.min_open, kind.max) if end == "low" else (kind.max, kind.max_open, kind.min)
    )
    if bound is None or (is_open and other is None):
        raise ValueError(f"{where}: the option has no {end} end: give {end}.")
    if not is_open:
        return float(bound) if isinstance(kind, click.FloatRange) else int(bound)
    inside = 1 if isinstance(kind, click.IntRange) else INSIDE * abs(other - bound)
    return float(bound + (inside if end == "low" else -inside))


def _value(field: dataclasses.Field[Any], value: Any, where: str) -> Any:
    """A value, converted to the option's type. ValueError if the option does not take it."""
    repeatable = typed_options.repeatable(field)
    parts = value if repeatable and isinstance(value, list) else [value]
    found = tuple(typed_options.converted(field, part, where) for part in parts)
    return found if repeatable else found[0]


def _nested(values: list[Any]) -> bool:
    return any(isinstance(value, list) for value in values)


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, tuple) else value
