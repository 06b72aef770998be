"""Definition: the space, goals, budget and run options of a search, saved as JSON so that the search can be resumed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Self

from compress.files import check_own, digest, write_json
from compress.input_file import regular
from compress.search import space
from compress.search.limits import Limits
from compress.search.space import Space
from compress.text import nearest

VERSION = 1  # of the file; another one is refused
FOLDER = "searches"  # in the folder of runs
FILE = "search.json"
MAX_BYTES = 10_000_000
# Options of all runs that a search saves -> their JSON types. A path is saved as an absolute path.
KEPT: dict[str, type | UnionType] = {
    "task": str, "data": str | None, "input_scale": float | int | None, "mean": list | None, "std": list | None,
    "bgr": bool, "resize": list | None, "seed": int, "deterministic": bool, "precision": str, "model": str | None,
    "trust": bool, "results": str,
}  # fmt: skip
# Digests that a search saves -> what a message calls another digest.
INPUTS = {
    "model": "another model",
    "train": "other training images",
    "validation": "other validation images",
}
PATHS = ("data", "model", "results")  # options that differ between machines of one search
LEASE = 60.0  # seconds without a heartbeat, after which another process may take over a trial
MOST, LONGEST = 10**12, 86_400  # maximum of a budget or limit, and of a lease
NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,79}", re.ASCII)
# Objective, a field of a row -> direction of improvement.
OBJECTIVES: dict[str, Literal["maximize", "minimize"]] = {
    "top1": "maximize",
    "file_bytes": "minimize",
    "gzip_bytes": "minimize",
    "arena_bytes": "minimize",
    "macs": "minimize",
}


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A search: its space, objectives, limits and budget, and the options of its runs."""

    name: str
    space: Mapping[str, Any]  # the record of a `Space`
    objectives: tuple[str, ...]
    limits: Mapping[str, int]
    options: Mapping[str, Any]  # of all runs, as parsed from the command line, as JSON
    minutes: float | None = None
    trials: int | None = None
    storage: str | None = None  # URL; None: SQLite in the folder of the search
    lease: float = LEASE
    inputs: Mapping[str, str] | None = None  # `INPUTS`; None until model and data were loaded once

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of everything that affects the trials: all but name, budget, storage, lease and paths."""
        parts = {name: getattr(self, name) for name in ("space", "objectives", "limits")}
        options = {k: v for k, v in self.options.items() if k not in PATHS}
        return digest({**parts, "objectives": list(self.objectives), "options": options})

    def is_same_as(self, other: Definition) -> bool:
        """True if both searches are the same, apart from name, budget and lease."""
        ours, theirs = (
            [each.digest, each.storage, *(each.options.get(name) for name in PATHS)]
            for each in (self, other)
        )
        return ours == theirs

    def parsed_space(self) -> Space:
        """The `Space` of the search."""
        return space.parsed(self.space, self.name)

    def parsed_limits(self) -> Limits:
        """The `Limits` of the search."""
        return Limits.from_record(self.limits)

    def with_budget(self, minutes: float | None, trials: int | None) -> Self:
        """The same search with another budget; unchanged if no budget is given."""
        if minutes is None and trials is None:
            return self
        return replace(self, minutes=minutes, trials=trials)

    def with_inputs(self, inputs: Mapping[str, str]) -> Self:
        """The same search with the digests of its model and data. ValueError if it began with others."""
        if self.inputs is None:
            return replace(self, inputs=dict(inputs))
        others = [INPUTS[name] for name, known in self.inputs.items() if inputs[name] != known]
        if others:
            raise ValueError(
                f"search {self.name} began with {' and '.join(others)}: put them back to resume it, or start a new "
                "search with another --name."
            )
        return self

    def save(self, out: Path) -> None:
        """Write the definition to the folder of the search in `out`."""
        write_json(folder_of(out, self.name) / FILE, {"version": VERSION, **asdict(self)})


def folder_of(out: Path, name: str) -> Path:
    """The folder of a search, in the folder of runs. ValueError if the name is not valid."""
    if not NAME.fullmatch(name):
        raise ValueError(
            f"{name!r:.100} is not a name for a search: expected ASCII letters, digits and . _ + -, at most 80."
        )
    return out / FOLDER / name


def default_name(task: str, definition: Definition) -> str:
    """The name of a search without a given name. The same command gives the same name."""
    options = {k: str(definition.options.get(k)) for k in PATHS[:2]}
    short = digest({"definition": definition.digest, **options})[:8]
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', task).strip('-')}-{short}"


def load(out: Path, name: str) -> Definition:
    """The search of that name. ValueError if its file is damaged or, with the nearest name, if there is none."""
    path = folder_of(out, name) / FILE
    check_own(path)
    if not path.is_file():
        known = sorted(each.parent.name for each in out.glob(f"{FOLDER}/*/{FILE}"))
        near = nearest(name, known)
        there = f"; there are {', '.join(known)}" if known else ""
        hint = f" Did you mean {near!r}?" if near else ""
        raise ValueError(f"no search {name!r} in {out / FOLDER}{there}.{hint}")
    try:
        if regular(path).stat().st_size > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
        record = json.loads(path.read_bytes())
        version = record.pop("version")
        if version != VERSION:
            raise ValueError(f"it is of version {version!r}, expected {VERSION}")
        found = Definition(**{**record, "objectives": tuple(record["objectives"])})
        _check(found, name)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not the file of a search ({str(error).rstrip('.')}): start a new search with another --name."
        ) from error
    return found


def _check(found: Definition, name: str) -> None:
    """Raise ValueError or TypeError if a damaged or foreign file did not give a valid search."""
    if found.name != name:
        raise ValueError(f"it is of search {found.name!r:.100}")
    if not found.objectives or set(found.objectives) - set(OBJECTIVES):
        raise ValueError("it has an unknown objective")
    budget = [n for n in (found.minutes, found.trials) if n is not None]
    numbers = all(_is_number(n, MOST) for n in (*budget, *found.limits.values()))
    if not numbers or not _is_number(found.lease, LONGEST):
        raise ValueError("a budget, lease or limit is not a number above 0, or is too large")
    if not isinstance(found.storage, str | None):
        raise ValueError("its storage is neither text nor null")
    _check_options(found.options)
    if found.inputs is not None and not _is_inputs(found.inputs):
        raise ValueError("its inputs are not the digests of a model and of data")
    found.parsed_space()
    found.parsed_limits()


def _check_options(options: Any) -> None:
    """Raise ValueError unless these are exactly the options that a search saves, each with a value of its type."""
    if not isinstance(options, dict) or options.keys() != KEPT.keys():
        raise ValueError("its options are not those that a search keeps")
    for name, kind in KEPT.items():
        value = options[name]
        numbers = value if isinstance(value, list) else []
        if not isinstance(value, kind) or not all(isinstance(n, int | float) for n in numbers):
            raise ValueError(f"its option {name} is {value!r:.100}")


def _is_inputs(value: object) -> bool:
    if not isinstance(value, dict) or value.keys() != INPUTS.keys():
        return False
    return all(isinstance(each, str) for each in value.values())


def _is_number(value: object, most: float) -> bool:
    return isinstance(value, int | float) and 0 < value <= most
