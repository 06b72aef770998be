"""Stages and tasks by name, from entry points. Built-ins and plugins are registered in the same way."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from compress.text import no_such

if TYPE_CHECKING:
    from compress.stage import Stage
    from compress.tasks.task import Task


def stage_names() -> list[str]:
    """The names of every installed stage, sorted."""
    return sorted(_entry_points("stage"))


def task_names() -> list[str]:
    """The names of every installed task, sorted."""
    return sorted(_entry_points("task"))


def stage(name: str) -> type[Stage]:
    """The stage class called `name`. ValueError, with the nearest name, if there is none."""
    return _load("stage", name)


def stage_of_class(name: str) -> type[Stage] | None:
    """The installed stage whose class has that name; None if there is none.

    >>> stage_of_class("PruneFilters").name
    'prune-filters'
    """
    for stage_name, point in _entry_points("stage").items():
        if point.value.rpartition(":")[2] == name:
            return stage(stage_name)
    return None


def task(name: str) -> Task:
    """The task called `name`, or the task in `MODULE:OBJECT`, whose code is executed. ValueError if there is none."""
    return _task_from_module(name) if ":" in name else _load("task", name)()


def build(spec: Mapping[str, Any]) -> Stage:
    """The stage that `spec` describes: `build(stage.spec()) == stage`.

    >>> build({"stage": "prune", "sparsity": 0.5}).argv()
    ['prune', '--sparsity', '0.5']
    """
    options = dict(spec)
    if "stage" not in options:
        raise ValueError(f"a stage's spec needs the key 'stage'; this one has {sorted(options)}.")
    cls = stage(options.pop("stage"))
    known = [str(p.name) for p in cls.parameters()]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f"{cls.name}: {no_such('option', unknown[0], known)}")
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in options.items()})


def _task_from_module(name: str) -> Task:
    """The task in `module:object`: a subclass of Task or an instance, in the current folder or installed."""
    from compress.tasks.task import Task

    module, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # last, so that no file here takes the place of a library
    try:
        target = getattr(importlib.import_module(module), attribute)
        task_object = target() if isinstance(target, type) and issubclass(target, Task) else target
    except (ImportError, AttributeError, SyntaxError, TypeError, ValueError) as error:
        raise ValueError(
            f"task {name!r} cannot be loaded: {error}; expected MODULE:OBJECT, the module in this folder or installed."
        ) from error
    if not isinstance(task_object, Task):
        raise ValueError(
            f"{name} is a {type(task_object).__name__}; expected a subclass of compress.Task."
        )
    if task_object.name in task_names() and type(task(task_object.name)) is not type(task_object):
        raise ValueError(
            f"{name} has the name of an installed task, {task_object.name!r}: rename it."
        )
    return task_object


def _entry_points(kind: str) -> dict[str, EntryPoint]:
    points: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"compress.{kind}s"):
        registered = points.setdefault(point.name, point)
        if registered.value != point.value:
            raise ValueError(
                f"two {kind}s are called {point.name!r}: {registered.value} and {point.value}; "
                "uninstall one of the packages they come from."
            )
    return points


def _load(kind: str, name: str) -> Any:
    points = _entry_points(kind)
    if name not in points:
        raise ValueError(no_such(kind, name, sorted(points)))
    try:
        return points[name].load()
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{kind} {name!r} cannot be loaded from {points[name].value}: {error}. "
            "Reinstall the package it comes from."
        ) from error
