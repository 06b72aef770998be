"""Standing: the results of a search so far, read only from its storage."""

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
REFUSED = "refused"  # the reason why it was refused before training
FAILED = "failed"  # its error message
PACE = "pace"  # seconds per epoch
WORK = "work"  # multiply-accumulates of its training for an image: see `pace.work_of`
FACTS = ("run", "folder", *OBJECTIVES, "top1_low", "top1_high")
SECOND = "file_bytes"  # the second axis of the front if there is a single objective


@dataclass(frozen=True, kw_only=True)
class Found:
    """A finished trial: its words, its run folder, and facts of its row on validation images."""

    number: int
    words: str
    facts: Mapping[str, Any]  # `FACTS` of the row, and the name of its run folder
    fits: bool  # true if it keeps to every limit

    def amount(self, objective: str) -> float:
        """The value of an objective, negated if more is better, so that less is always better; infinity if missing."""
        value = self.facts.get(objective)
        if value is None:
            return float("inf")
        return float(-value if OBJECTIVES[objective] == "maximize" else value)

    def record(self) -> dict[str, Any]:
        """The finished trial as a JSON object."""
        return {"trial": self.number, "stages": self.words, **self.facts}


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The number of trials of each kind, the time that they took, the best of them, and the Pareto front."""

    finished: int  # measured
    stopped: int  # by the pruner, before their end
    refused: int  # before training
    failed: int
    running: int  # lost trials count as running until their lease ends
    seconds: float  # time in which at least one finished, stopped or refused trial ran
    fitting: tuple[Found, ...]  # finished trials that keep to every limit, each run once
    best: Found | None
    front: tuple[Found, ...]  # see `front`

    @property
    def tried(self) -> int:
        """The number of trials that count for --trials: those that completed at least part of their training."""
        return self.finished + self.stopped + self.failed

    def record(self) -> dict[str, Any]:
        """The standing as a JSON object."""
        counts = ("finished", "stopped", "refused", "failed", "running")
        return {
            **{name: getattr(self, name) for name in counts},
            "seconds": round(self.seconds, 1),
            "best": self.best and self.best.record(),
            "front": [found.record() for found in self.front],
        }


def axes(objectives: Sequence[str]) -> tuple[str, ...]:
    """The objectives of the front. A single objective is compared with the bytes of the file."""
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
    """The state of a trial: "finished", "stopped", "refused", "failed", "running", or "interrupted" (to run again)."""
    state = trial.state.name
    if state == "PRUNED":
        return "refused" if REFUSED in trial.user_attrs else "stopped"
    if state == "FAIL":
        return "failed" if FAILED in trial.user_attrs else "interrupted"
    return {"COMPLETE": "finished", "RUNNING": "running"}.get(state, "interrupted")


def as_found(trial: FrozenTrial) -> Found:
    """The `Found` of a finished trial. ValueError if its attributes are not those that a search gives a trial."""
    attributes = trial.user_attrs
    words, facts = attributes.get(WORDS), attributes.get(RESULT)
    if not isinstance(words, str) or not isinstance(facts, Mapping) or "run" not in facts:
        raise ValueError(
            f"trial {trial.number} in the storage does not belong to a search, as it has no words or no result: start "
            "a new search with another --name."
        )
    if not _is_name(folder := facts.get("folder")):
        raise ValueError(
            f"trial {trial.number} in the storage has {folder!r:.100} as its run folder; expected the name of a folder "
            "in --out: start a new search with another --name."
        )
    fits = all(excess <= 0 for excess in attributes.get(EXCESSES, ()))
    return Found(number=trial.number, words=words, facts=facts, fits=fits)


def _is_name(folder: object) -> bool:
    """True if this is the name of a folder, not a path that leads elsewhere."""
    if not isinstance(folder, str) or folder in ("", ".", ".."):
        return False
    return not set("/\\\0") & set(folder)


def front(found: Iterable[Found], objectives: Sequence[str]) -> tuple[Found, ...]:
    """The Pareto front, ordered by the first objective. One of several equal trials is kept.

    A trial is in the front if no other trial is as good in every objective and better in one.
    """
    points = {tuple(each.amount(o) for o in objectives): each for each in reversed(list(found))}
    kept: list[tuple[float, ...]] = []
    # In this order, no point dominates one before it, so it is enough to compare with the kept points.
    for point in sorted(points):
        if not any(all(a <= b for a, b in zip(p, point, strict=True)) for p in kept):
            kept.append(point)
    return tuple(points[point] for point in kept)


def covered(spans: Iterable[tuple[datetime, datetime]]) -> float:
    """Seconds that are covered by at least one of the spans.

    >>> minute = [datetime(2026, 1, 1, 0, m) for m in range(6)]
    >>> covered([(minute[0], minute[2]), (minute[1], minute[3]), (minute[4], minute[5])])
    240.0
    """
    total, until = 0.0, datetime.min
    for begin, end in sorted(spans):
        total += max(0.0, (end - max(begin, until)).total_seconds())
        until = max(until, end)
    return total
