"""Options of a stage or a network: fields of a frozen dataclass, each declared once by `option`.

Flag, help, range check, JSON form and the words of a label derive from the declaration. Other fields are not options.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import click

UNITS = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "KIB": 1024, "MIB": 1024**2}
MOST = 2**31 - 1
# Errors of click types for a value that no command line gives, such as a list, a date or an infinite number.
_OF_ANOTHER_TYPE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def option(default: Any, kind: Any, help: str) -> Any:
    """Declare one option of a stage or network; its flag, help, range check, JSON form and tests derive from this.

    Args:
      default: the value when none is given. A tuple makes the flag repeatable; a bool makes a pair of flags.
      kind: a click type such as `click.FloatRange(0, 1)`. For a tuple, the type of one element, or `WholeNumbers`.
      help: one sentence for `--help`.
    """
    return dataclasses.field(
        default=default, metadata={"kind": click.types.convert_type(kind), "help": help}
    )


class Amount(click.IntRange):
    """A whole number from 1, or one with a unit: 65536, 64KB, 64KiB, 1.5M. The value is the number."""

    name = "amount"

    def __init__(self, most: int = MOST) -> None:
        super().__init__(1, most)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,3})?) ?(\w*)", str(value), re.ASCII)
        unit = match[2].upper() if match else ""
        scale = UNITS.get(unit, UNITS.get(f"{unit}B"))
        if not (match and scale) or (not unit and "." in match[1]):
            self.fail(
                f"{value!r:.100} is not an amount such as 65536, 64KB (1 KB = 1000) or 64KiB.",
                param,
                ctx,
            )
        return super().convert(round(float(match[1]) * scale), param, ctx)


class WholeNumbers(click.ParamType):
    """Whole numbers in one word, separated by commas: 16,32,64. The value is a tuple."""

    name = "numbers"

    def __init__(self, count: int, low: int, high: int) -> None:
        self.count, self.low, self.high = count, low, high

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        parts = value.split(",") if isinstance(value, str) else value
        numbers = [_whole(p) for p in parts] if isinstance(parts, list | tuple) else []
        if len(numbers) != self.count or not all(self.low <= n <= self.high for n in numbers):
            example = ",".join(str(n) for n in range(self.low, self.low + self.count))
            self.fail(
                f"{value!r:.100} is not {self.count} whole numbers from {self.low} to {self.high} with commas "
                f"between, such as {example}.",
                param,
                ctx,
            )
        return tuple(numbers)


class ForwardedOption(click.ParamType):
    """NAME=VALUE, an option of something that a stage names, such as a network, which converts the value.

    The command line also takes --PREFIX-NAME VALUE: see `pipelines.stage_command`. A field of this kind is a tuple.
    """

    name = "name=value"

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        name, equals, word = str(value).partition("=")
        name = name.replace("-", "_")
        if not (equals and name.isidentifier()):
            self.fail(f"{value!r:.100} is not NAME=VALUE, such as depth=14.", param, ctx)
        return f"{name}={word}"


def check(owner: Any) -> None:
    """Convert each option of `owner` to its type, in place. ValueError, which names the option, if out of range."""
    for field in fields(owner):
        object.__setattr__(owner, field.name, _checked(owner, field, getattr(owner, field.name)))


def fields(owner: Any) -> list[dataclasses.Field[Any]]:
    """The fields of a class or instance that are options, in the order declared."""
    return [f for f in dataclasses.fields(owner) if "kind" in f.metadata]


def own_first(cls: type) -> list[dataclasses.Field[Any]]:
    """The fields that are options: those declared in this class itself, then those of the classes it derives from."""
    own = list(cls.__annotations__)  # redeclared fields too
    found = {f.name: f for f in fields(cls)}
    names = [*own, *(name for name in found if name not in own)]
    return [found[name] for name in names if name in found]


def values(owner: Any) -> dict[str, Any]:
    """Option -> value, in JSON."""
    return {f.name: _plain(getattr(owner, f.name)) for f in fields(owner)}


def changed(owner: Any) -> dict[str, Any]:
    """The options that are not at their defaults -> value, in JSON."""
    return {
        f.name: _plain(value)
        for f in fields(owner)
        if (value := getattr(owner, f.name)) != f.default
    }


def words(field: dataclasses.Field[Any], value: Any) -> Iterator[str]:
    """The command-line words that set an option to a value; no words for None."""
    kind, flag = field.metadata["kind"], field.name.replace("_", "-")
    if isinstance(value, bool):
        yield f"--{flag}" if value else f"--no-{flag}"
    elif value is not None:
        for each in value if repeatable(field) else (value,):
            if isinstance(kind, ForwardedOption):
                name, _, word = each.partition("=")
                yield from (f"--{kind.prefix}-{name.replace('_', '-')}", word)
            else:
                yield from (f"--{flag}", _word(each))


def repeatable(field: dataclasses.Field[Any]) -> bool:
    """True if the flag of an option may be given several times, once for each element of a tuple."""
    return isinstance(field.default, tuple) and not isinstance(field.metadata["kind"], WholeNumbers)


def converted(field: dataclasses.Field[Any], value: Any, where: str) -> Any:
    """A value of an option, or one element if it is repeatable, converted to the option's type.

    Args:
      value: of any type, as a file may have it.
      where: the name of the option, with which every message begins.

    Raises:
      ValueError: the option does not take the value.
    """
    kind: click.ParamType = field.metadata["kind"]
    try:
        return _convert(kind, value)
    except click.BadParameter as error:
        raise ValueError(f"{where}: {error.message}") from None
    except _OF_ANOTHER_TYPE:
        raise ValueError(f"{where}: {_shown(value)} is not a valid {kind.name}.") from None


def parameters(owner: Any) -> list[click.Parameter]:
    """The click options of a class or instance, in the order of `own_first`."""
    cls = owner if isinstance(owner, type) else type(owner)
    return [_parameter(field) for field in own_first(cls)]


def _checked(owner: Any, field: dataclasses.Field[Any], value: Any) -> Any:
    where = f"{owner.name}: option '{field.name}'"
    if not repeatable(field):
        return value if value is field.default else converted(field, value, where)
    if not isinstance(value, list | tuple):
        shown = _shown(value)
        raise ValueError(f"{where}: {shown} is not a list; give one, as in [{shown}].")
    return tuple(converted(field, each, where) for each in value)


def _convert(kind: click.ParamType, value: Any) -> Any:
    if value is None or isinstance(value, Mapping):
        raise click.BadParameter(f"{_shown(value)} is not a value.")
    found = kind.convert(value, None, None)
    if _is_rounded(value, found):
        raise click.BadParameter(f"{_shown(value)} is not a valid {kind.name}.")
    if isinstance(found, float) and not math.isfinite(found):
        raise click.BadParameter(f"{value} is not a finite number.")
    try:
        str(found).encode()  # because a row will hold it
    except UnicodeEncodeError:
        raise click.BadParameter(f"{value!r} is not valid UTF-8 text: rename it.") from None
    return found


def _is_rounded(value: Any, found: Any) -> bool:
    """True if click turned the value into another number, such as 2.7 into 2, or true into 1."""
    if not isinstance(found, int | float) or isinstance(found, bool):
        return False
    return isinstance(value, bool) or (
        isinstance(value, float) and math.isfinite(value) and value != found
    )


def _shown(value: Any) -> str:
    try:
        return f"{value!r:.100}"
    except ValueError:  # Python does not print whole numbers of thousands of digits
        return "a number of so many digits"


def _whole(value: Any) -> float:
    """The whole number, or NaN, which is in no range."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    digits = value.strip() if isinstance(value, str) else ""
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 10 else math.nan


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _parameter(field: dataclasses.Field[Any]) -> click.Option:
    flag, repeats = field.name.replace("_", "-"), repeatable(field)
    flags = f"--{flag}/--no-{flag}" if isinstance(field.default, bool) else f"--{flag}"
    one_word = isinstance(field.default, tuple) and not repeats
    return click.Option(
        [flags, field.name],
        type=field.metadata["kind"],
        default=_word(field.default) if one_word else field.default,
        multiple=repeats,
        show_default=not repeats and field.default is not None,
        help=field.metadata["help"] + (" May be repeated." if repeats else ""),
    )
