"""Name -> stage or task, by entry point; built-ins and plugins come in by the same door."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compress.stage import Stage
    from compress.task import Task


def stage_names() -> list[str]:
    """The names of every installed stage, sorted."""
    return sorted(_found("stage"))


def task_names() -> list[str]:
    """The names of every installed task, sorted."""
    return sorted(_found("task"))


def stage(name: str) -> type[Stage]:
    """The stage class called `name`. ValueError, with the nearest name, if there is none."""
    return _load("stage", name)


def task(name: str) -> Task:
    """The task called `name`. ValueError, with the nearest name, if there is none."""
    return _load("task", name)()


def build(spec: Mapping[str, Any]) -> Stage:
    """The stage that `spec` describes: `build(stage.spec()) == stage`.

    >>> build({"stage": "prune", "sparsity": 0.5}).argv()
    ['prune', '--sparsity', '0.5']
    """
    options = dict(spec)
    if "stage" not in options:
        raise ValueError(f"a stage's spec needs the key 'stage'; this one has {sorted(options)}.")
    cls = stage(options.pop("stage"))
    unknown = sorted(set(options) - {p.name for p in cls.parameters()})
    if unknown:
        raise ValueError(
            f"{cls.name}: no option {unknown[0]!r}; options here: "
            + ", ".join(str(p.name) for p in cls.parameters())
        )
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in options.items()})


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
        near = difflib.get_close_matches(name, found, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"no {kind} {name!r}; {kind}s here: {', '.join(sorted(found))}.{hint}")
    try:
        return found[name].load()
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{kind} {name!r} cannot be loaded from {found[name].value}: {error}. "
            "Reinstall the package it comes from."
        ) from error
