"""The types and ranges of the fields of a row, declared once, and the check derived from them."""

from __future__ import annotations

import functools
import itertools
import math
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, datetime
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

LARGEST = 2**63 - 1  # the largest number that an Int64 column can hold


@dataclass(frozen=True)
class Between:
    """The range of a number, both ends included."""

    low: float
    high: float = math.inf

    def holds(self, value: float) -> bool:
        """True if `value` is in the range."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        above = self.high in (math.inf, LARGEST)
        return f"of {self.low} or more" if above else f"from {self.low} to {self.high}"


@dataclass(frozen=True)
class Only:
    """A condition on a text: its description and its test."""

    description: str
    holds: Callable[[str], object]

    def __str__(self) -> str:
        return self.description


def _is_time(text: str) -> bool:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return False
    # In another time zone, a time in the first or last year may fall in a year that datetime cannot represent.
    return MINYEAR < time.year < MAXYEAR


Fraction = Annotated[float, Between(0, 1)]
Count = Annotated[int, Between(0, LARGEST)]
AtLeastOne = Annotated[int, Between(1, LARGEST)]
NotNegative = Annotated[float, Between(0)]
Digest = Annotated[str, Only("of 64 hex digits, a SHA-256", re.compile("[0-9a-f]{64}").fullmatch)]
Name = Annotated[str, Only("that is not empty", bool)]
Time = Annotated[
    str,
    Only(f"that is a time in ISO 8601, of a year from {MINYEAR + 1} to {MAXYEAR - 1}", _is_time),
]

_SAID = {
    float: "a number", int: "a whole number", str: "a text", bool: "true or false", dict: "an object", list: "a list",
}  # fmt: skip


def refusal(place: str, value: Any, kind: Any) -> str | None:
    """The reason why a JSON value at `place` is wrong, and what was expected there; None if it is right.

    Args:
      kind: one of the annotated types above, or `Any` for any JSON value.

    >>> refusal("field 'sparsity'", 7, Fraction)
    "field 'sparsity' is 7; expected a number from 0 to 1"
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):  # a type or None
        why = None if value is None else refusal(place, value, inner[0])
        return why and f"{why} or null"
    if isinstance(value, dict) and (kind is Any or origin is dict):
        parts = [(f" at {key!r:.40}", part) for key, part in value.items()]
    elif isinstance(value, list) and (kind is Any or origin is list):
        parts = [(f" at {number}", part) for number, part in enumerate(value)]
    elif _is_a(value, kind):
        return None
    else:
        return f"{place} is {value!r:.40}; expected {expected(kind)}"
    within = inner[-1] if inner else Any
    return next((why for at, part in parts if (why := refusal(place + at, part, within))), None)


def check(value: Any, *contradictions: Iterable[tuple[str, str]]) -> None:
    """Check each field of a dataclass against its annotated type, then against the other fields.

    Args:
      contradictions: (field, what was expected) for each field that other fields contradict; read only if all types are
        right.

    Raises:
      ValueError: names the field, its value and what was expected.
    """
    for name, kind in kinds_of(type(value)).items():
        if why := refusal(f"field {name!r}", getattr(value, name), kind):
            raise ValueError(f"{why}.")
    for name, wanted in itertools.chain(*contradictions):
        raise ValueError(f"field {name!r} is {getattr(value, name)!r:.40}; expected {wanted}.")


def kinds_of(cls: Any) -> dict[str, Any]:
    """Field of a dataclass -> its type, annotated with its range."""
    return _kinds_of(cls)


@functools.cache
def _kinds_of(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


def expected(kind: Any) -> str:
    """An annotated type in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return " ".join([expected(inner[0]), *map(str, inner[1:])])
    if origin in (Union, UnionType):
        return f"{expected(inner[0])} or null"
    if origin is Literal:
        return " or ".join(map(repr, inner))
    return "a JSON value" if kind is Any else _SAID[origin or kind]


def allows_none(kind: Any) -> bool:
    """True if a field of that type may be None, which means not measured."""
    return NoneType in get_args(kind)


def number_of(kind: Any) -> type | None:
    """int or float if a field of that type holds one number or None; None for any other type."""
    if get_origin(kind) in (Union, UnionType):
        return number_of(get_args(kind)[0])
    base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return base if base in (int, float) else None


def _is_a(value: Any, kind: Any) -> bool:
    """True if a value has an annotated type; an int passes as a float, but a bool does not pass as a number."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _is_a(value, inner[0]) and all(each.holds(value) for each in inner[1:])
    if origin is Literal:
        return value in inner
    if kind is Any:
        return value is None or any(_is_a(value, each) for each in (bool, str, float))
    if kind is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max
    return type(value) is kind
