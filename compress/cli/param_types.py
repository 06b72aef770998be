"""Types of options that click does not have: a scale, numbers, a size, an age, a task's name, a finite number."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Any

import click

from compress import registry
from compress.pipelines.words import known


class Scale(click.ParamType):
    """A positive number, or a fraction such as 1/255."""

    name = "scale"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        numerator, _, denominator = str(value).partition("/")
        try:
            scale = float(numerator) / float(denominator or 1)
        except (ValueError, ZeroDivisionError):
            scale = math.nan
        if not 0 < scale < math.inf:
            self.fail(f"{value!r} is not a positive number such as 1 or 1/255.", param, ctx)
        return scale


class Numbers(click.ParamType):
    """Finite numbers with commas between them, such as 0.485,0.456,0.406."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            numbers = tuple(float(word) for word in str(value).split(","))
        except ValueError:
            numbers = ()
        if not numbers or not all(map(math.isfinite, numbers)):
            self.fail(f"{value!r} is not a list of numbers such as 0.485,0.456,0.406.", param, ctx)
        return numbers


class Size(click.ParamType):
    """Height and width in pixels, such as 224x224; one number for both."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not re.fullmatch(r"[1-9]\d{0,4}(x[1-9]\d{0,4})?", str(value)):
            self.fail(f"{value!r} is not a size such as 224x224, height first, or 224.", param, ctx)
        height, _, width = str(value).partition("x")
        return int(height), int(width or height)


class Age(click.ParamType):
    """A time span in hours, days or weeks: 12h, 30d, 8w."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        match = re.fullmatch(r"(\d{1,4})([hdw])", str(value))
        if not match:
            self.fail(
                f"{value!r} is not a number of hours, days or weeks such as 12h, 30d or 8w.",
                param,
                ctx,
            )
        return int(match[1]) * timedelta(hours={"h": 1, "d": 24, "w": 168}[match[2]])


class TaskName(click.ParamType):
    """The name of an installed task, or MODULE:OBJECT."""

    name = "task"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if ":" not in value:
            known(ctx, value, "task", registry.task_names())
        return value


class Finite(click.FloatRange):
    """A finite number in a range. A comparison alone would let NaN pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = click.FloatRange.convert(self, value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number
