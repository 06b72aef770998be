"""Standing: what a search has found so far, read from its storage alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from compress.search.definition import OBJECTIVES, Definition
from compress.search.storage import EXCESSES

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

# Attributes of a trial.
WORDS = "words"  # the stages, as typed in a shell
RESULT = "result"  # facts of its row: see `Found`
REFUSED = "refused"  # why it was refused before training
FAILED = "failed"  # the sentence of its error
PACE = "pace"  # seconds an epoch
WORK = "work"  # what an epoch costs: see `pace.work_of`
FACTS = ("run", "folder", *OBJECTIVES, "top1_low", "top1_high")
SECOND = "file_bytes"  # what the front of a single objective is drawn against


@dataclass(frozen=True, kw_only=True)
class Found:
    """A finished trial: its words, where its run is, and facts of its row on validation."""

    number: int
    words: str
    facts: Mapping[str, Any]  # `FACTS` of the row, and the name of its run folder
    fits: bool  # whether it keeps to every limit

    def amount(self, objective: str) -> float:
        """The value of an objective, turned so that less is better. What was not measured is worst."""
        value = self.facts.get(objective)
        if value is None:
            return float("inf")
        return float(-value if OBJECTIVES[objective] == "maximize" else value)

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"trial": self.number, "stages": self.words, **self.facts}


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How many trials there are of each kind, how long they took, the best of them, and the front."""

    finished: int  # measured
    stopped: int  # by the pruner, before their end
    refused: int  # before training
    failed: int
    running: int  # or lost, until their lease runs out
    seconds: float  # in which a trial that came to an end was at work
    fitting: tuple[Found, ...]  # finished trials that keep to every limit, each run once
    best: Found | None
    front: tuple[
        Found, ...
    ]  # those that none is better than in every objective, best accuracy first

    @property
    def tried(self) -> int:
        """How many trials count for --trials: those that had a part of their training or all."""
        return self.finished + self.stopped + self.failed

    def record(self) -> dict[str, Any]:
        """As JSON."""
        counts = ("finished", "stopped", "refused", "failed", "running")
        return {
            **{name: getattr(self, name) for name in counts},
            "seconds": round(self.seconds, 1),
            "best": self.best and self.best.record(),
            "front": [found.record() for found in self.front],
        }


def axes(objectives: Sequence[str]) -> tuple[str, ...]:
    """The objectives of a front; a single one is held against the bytes of the file."""
    several = len(objectives) > 1 or SECOND in objectives
    return tuple(objectives) if several else (objectives[0], SECOND)


def standing(study: Study, definition: Definition) -> Standing:
    """The standing of a search."""
    trials = study.get_trials(deepcopy=False)
    states = [kind(trial) for trial in trials]
    found = [as_found(t) for t, state in zip(trials, states, strict=True) if state == "finished"]
    fitting = list({each.facts["run"]: each for each in found if each.fits}.values())
    ended = ("finished", "stopped", "refused")
    spans = [
        (t.datetime_start, t.datetime_complete)
        for t, state in zip(trials, states, strict=True)
        if state in ended and t.datetime_start and t.datetime_complete
    ]
    first = definition.objectives[0]
    order = sorted(fitting, key=lambda each: (each.amount(first), each.amount(SECOND)))
    return Standing(
        **{name: states.count(name) for name in (*ended, "failed", "running")},
        seconds=covered(spans),
        fitting=tuple(order),
        best=order[0] if order else None,
        front=front(order, axes(definition.objectives)),
    )


def kind(trial: FrozenTrial) -> str:
    """What a trial is: "finished", "stopped", "refused", "failed", "running", or "interrupted", to be tried again."""
    state = trial.state.name
    if state == "PRUNED":
        return "refused" if REFUSED in trial.user_attrs else "stopped"
    if state == "FAIL":
        return "failed" if FAILED in trial.user_attrs else "interrupted"
    return {"COMPLETE": "finished", "RUNNING": "running"}.get(state, "interrupted")


def as_found(trial: FrozenTrial) -> Found:
    """A finished trial as what it found. ValueError if its attributes are not those that a search gives a trial."""
    attributes = trial.user_attrs
    words, facts = attributes.get(WORDS), attributes.get(RESULT)
    if not isinstance(words, str) or not isinstance(facts, Mapping) or "run" not in facts:
        raise ValueError(
            f"trial {trial.number} in the storage is of no search, as it has no words or no result: search anew under "
            "another --name."
        )
    if not _is_name(folder := facts.get("folder")):
        raise ValueError(
            f"trial {trial.number} in the storage has {folder!r:.100} as its run folder; expected the name of a folder "
            "in --out: search anew under another --name."
        )
    fits = all(excess <= 0 for excess in attributes.get(EXCESSES, ()))
    return Found(number=trial.number, words=words, facts=facts, fits=fits)


def _is_name(folder: object) -> bool:
    """Whether it is the name of a folder, and leads nowhere else."""
    if not isinstance(folder, str) or folder in ("", ".", ".."):
        return False
    return not set("/\\\0") & set(folder)


def front(found: Iterable[Found], objectives: Sequence[str]) -> tuple[Found, ...]:
    """Those that no other is better than: as good in every objective and better in one. Equals are kept once."""
    points = {tuple(each.amount(o) for o in objectives): each for each in reversed(list(found))}
    kept: list[tuple[float, ...]] = []
    # In this order no point is better in everything than one before it, so those kept are all to compare with.
    for point in sorted(points):
        if not any(all(a <= b for a, b in zip(p, point, strict=True)) for p in kept):
            kept.append(point)
    return tuple(points[point] for point in kept)


def covered(spans: Iterable[tuple[datetime, datetime]]) -> float:
    """Seconds in which at least one of the spans was under way.

    >>> minute = [datetime(2026, 1, 1, 0, m) for m in range(6)]
    >>> covered([(minute[0], minute[2]), (minute[1], minute[3]), (minute[4], minute[5])])
    240.0
    """
    total, until = 0.0, datetime.min
    for begin, end in sorted(spans):
        total += max(0.0, (end - max(begin, until)).total_seconds())
        until = max(until, end)
    return total
