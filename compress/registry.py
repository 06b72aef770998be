"""Name -> stage or task, by entry point; built-ins and plugins come in by the same door."""

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
    return sorted(_found("stage"))


def task_names() -> list[str]:
    """The names of every installed task, sorted."""
    return sorted(_found("task"))


def stage(name: str) -> type[Stage]:
    """The stage class called `name`. ValueError, with the nearest name, if there is none."""
    return _load("stage", name)


def stage_of_class(name: str) -> type[Stage] | None:
    """The installed stage whose class is called so; None if there is none.

    >>> stage_of_class("PruneFilters").name
    'prune-filters'
    """
    for stage_name, point in _found("stage").items():
        if point.value.rpartition(":")[2] == name:
            return stage(stage_name)
    return None


def task(name: str) -> Task:
    """The task called `name`, or the one in `MODULE:OBJECT`, whose code is run. ValueError if there is none."""
    return _of_code(name) if ":" in name else _load("task", name)()


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


def _of_code(name: str) -> Task:
    """The task in `module:object`: a subclass of Task or an instance, in this folder or installed."""
    from compress.tasks.task import Task

    module, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # last, so that no file here takes the place of a library
    try:
        found = getattr(importlib.import_module(module), attribute)
        made = found() if isinstance(found, type) and issubclass(found, Task) else found
    except (ImportError, AttributeError, SyntaxError, TypeError, ValueError) as error:
        raise ValueError(
            f"task {name!r} cannot be loaded: {error}; expected MODULE:OBJECT, the module in this folder or installed."
        ) from error
    if not isinstance(made, Task):
        raise ValueError(
            f"{name} is a {type(made).__name__}; expected a subclass of compress.Task."
        )
    if made.name in task_names() and type(task(made.name)) is not type(made):
        raise ValueError(f"{name} has the name of an installed task, {made.name!r}: rename it.")
    return made


def _found(kind: str) -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"compress.{kind}s"):
        known = found.setdefault(point.name, point)
        if known.value != point.value:
            raise ValueError(
                f"two {kind}s are called {point.name!r}: {known.value} and {point.value}; "
                "uninstall one of the packages they come from."
            )
    return found


def _load(kind: str, name: str) -> Any:
    found = _found(kind)
    if name not in found:
        raise ValueError(no_such(kind, name, sorted(found)))
    try:
        return found[name].load()
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{kind} {name!r} cannot be loaded from {found[name].value}: {error}. "
            "Reinstall the package it comes from."
        ) from error
