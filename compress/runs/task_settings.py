"""The settings of a task instance that distinguish it from other instances of its class, for keys of runs."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.runs.code_digest import ENGINE
from compress.tasks.task import Task

COUNTED = {"name", "input_scale"}  # keys hold them already


def changed_settings(task: Task) -> dict[str, Any]:
    """The settings of a task, as JSON: its fields that are not at their defaults, or the attributes of the instance.

    Only plain data count: numbers, text, paths, collections of these, and dataclasses of these. Fields that a class of
    this package declares do not count, because the data and the model decide them, nor do cached properties.
    """
    if dataclasses.is_dataclass(task):
        bases = [each for each in type(task).__mro__ if each.__module__.split(".")[0] == ENGINE]
        ours = {name for each in bases for name in getattr(each, "__dataclass_fields__", ())}
        found = _changed(task)
    else:
        cached = {n for n in vars(task) if _is_cached(getattr(type(task), n, None))}
        ours, found = cached, _plain_values(vars(task))
    return {name: value for name, value in found.items() if name not in ours | COUNTED}


def _is_cached(attribute: Any) -> bool:
    return isinstance(attribute, functools.cached_property)


def _changed(settings: Any) -> dict[str, Any]:
    """The plain fields of a dataclass instance that are compared and are not at their defaults."""
    fields = [field for field in dataclasses.fields(settings) if field.compare]
    values = _plain_values({field.name: getattr(settings, field.name) for field in fields})
    defaults = _plain_values({field.name: _default(field) for field in fields})
    return {
        name: value
        for name, value in values.items()
        if name not in defaults or value != defaults[name]
    }


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _plain_values(values: Mapping[str, Any]) -> dict[str, Any]:
    plain = {}
    for name, value in values.items():
        with contextlib.suppress(TypeError):
            plain[name] = _plain(value)
    return plain


def _plain(value: Any) -> Any:
    """The value as JSON. TypeError if it is not plain data."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(each) for each in value), key=repr)
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [type(value).__name__, _changed(value)]
    raise TypeError
