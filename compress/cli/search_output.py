"""The output of a search: a line per trial, the front as a table, and the command that repeats the best trial."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from compress.cli import console
from compress.cli.options import MODEL, RUN_OPTIONS, TRUST
from compress.rows.result import Result
from compress.search import definition, finalists
from compress.search.definition import Definition
from compress.search.limits import FLAGS
from compress.search.standing import FAILED, RESULT, WORDS, Found, Standing, axes, kind

FRONT = "front"  # the name of the picture, without the suffix of its format


def begun(found: Definition, so_far: Standing) -> str:
    """The objectives, limits and budget of a search, and the number of trials so far."""
    limits = " ".join(f"{FLAGS[name]} {most:,}" for name, most in found.limits.items())
    within = f" within {limits}" if limits else ""
    before = f"; {so_far.tried} trials so far" if so_far.tried else ""
    return f"the best {' and '.join(found.objectives)}{within}, {_budget(found)}{before}."


def line(trial: Any, so_far: Standing, found: Definition, left: float | None) -> str | None:
    """One line on a trial that ended, and on the search after it; None for a trial that was refused before training."""
    state, attributes = kind(trial), trial.user_attrs
    if state not in ("finished", "stopped", "failed"):
        return None
    if state == "finished":
        facts = attributes[RESULT]
        outcome = f"validation {facts['top1']:.2%}, {facts['file_bytes']:,} bytes"
    else:
        outcome = "stopped early" if state == "stopped" else f"failed: {attributes[FAILED]}"
    best = so_far.best
    parts = [
        f"best {best.facts['top1']:.2%} (trial {best.number})" if best else "none fits so far",
        f"front {len(so_far.front)}",
        *([f"{so_far.refused} refused or tried before"] if so_far.refused else []),
        f"{so_far.tried} of {found.trials} trials" if found.trials else f"{so_far.tried} trials",
        *([f"{console.clock(left)} left"] if left is not None else []),
    ]
    return f"trial {trial.number}: {attributes.get(WORDS, '')}: {outcome}; {', '.join(parts)}"


def show(
    found: Definition, so_far: Standing, rows: Sequence[Result], out: Path, as_json: bool
) -> None:
    """Print the outcome of a search: its front, the best file, and the command that makes this file again."""
    folder = definition.folder_of(out, found.name)
    best = so_far.best
    file = folder / finalists.BEST
    again = command_again(found, best.words, out) if best else None
    if as_json:
        record = {"search": found.name, "folder": str(folder), **so_far.record()}
        console.say_json(
            {
                **record,
                "file": str(file) if best and file.exists() else None,
                "command": again,
                "on_test": [row.record() for row in rows],
            }
        )
        return
    on_test = {row.run: row for row in rows}
    if so_far.front:
        console.print_records([_record(each, found, on_test) for each in so_far.front])
        console.say("")
    console.print_pairs(
        {
            "search": f"{found.name}, {begun(found, so_far)}",
            "trials": f"{so_far.finished} finished, {so_far.stopped} stopped early, {so_far.refused} refused or tried "
            f"before, {so_far.failed} failed, {so_far.running} running or lost",
            "time": f"{console.clock(so_far.seconds)} in trials{_left(found, so_far)}",
        }
    )
    if best is None or again is None:
        console.say("", "No trial fits so far.")
        return
    console.say("", f"Best: {best.words}")
    if file.exists():
        console.say(f"File: {file}. Front: {folder / FRONT}.png.")
    console.say("The same without searching:", f"  {again}")


def draw(found: Definition, so_far: Standing, out: Path) -> None:
    """Draw the front and all fitting trials of a search, by its first two objectives, into the folder of the search."""
    from compress.report.plots import search_front

    up, across = axes(found.objectives)[:2]

    def points(several: Sequence[Found]) -> list[tuple[float, float]]:
        amounts = [(each.facts[across], each.facts[up]) for each in several]
        return [pair for pair in amounts if None not in pair]

    names = (_axis(across), _axis(up))
    path = definition.folder_of(out, found.name) / FRONT
    search_front(points(so_far.fitting), points(so_far.front), names, path)


def _axis(objective: str) -> str:
    return "top-1 on validation images" if objective == "top1" else objective.replace("_", " ")


def command_again(found: Definition, words: str, out: Path) -> str:
    """The command that repeats a trial and measures it on test images."""
    options: dict[str | None, click.Parameter] = {o.name: o for o in (MODEL, TRUST, *RUN_OPTIONS)}
    flags: list[str] = []
    for name, value in {**found.options, "results": None, "out": str(out)}.items():
        option = options[name]
        if value in (None, False) or value == option.default or value == str(option.default):
            continue
        flags += [option.opts[0], *([] if value is True else [_word(name, value)])]
    return " ".join(["compress run", *([shlex.join(flags)] if flags else []), words])


def _word(name: str, value: Any) -> str:
    if name == "resize":
        return "x".join(map(str, value))
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _record(each: Found, found: Definition, on_test: Mapping[str, Result]) -> dict[str, Any]:
    """A line in the table of the front."""
    facts = each.facts
    test = on_test.get(str(facts["run"]))
    shown = dict.fromkeys(("file_bytes", *axes(found.objectives), *_limited(found)))
    return {
        "stages": each.words,
        "trial": each.number,
        "validation": f"{facts['top1']:.2%}",
        **({"test": f"{test.top1:.2%}" if test else ""} if on_test else {}),
        **{name.replace("_", " "): facts[name] for name in shown if name != "top1"},
    }


def _limited(found: Definition) -> list[str]:
    names = {"flash": "file_bytes", "arena": "arena_bytes", "macs": "macs"}
    return [names[name] for name in found.limits]


def _budget(found: Definition) -> str:
    parts = [
        *([f"{found.minutes:g} minutes"] if found.minutes is not None else []),
        *([f"{found.trials} trials"] if found.trials is not None else []),
    ]
    return " or ".join(parts)


def _left(found: Definition, so_far: Standing) -> str:
    if found.minutes is None:
        return ""
    return f", {console.clock(max(0.0, found.minutes * 60 - so_far.seconds))} left"
