"""Controls among the rows: compare each method with methods that are cheaper to try."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from compress.report import text
from compress.rows.bits import unpack_bits
from compress.rows.result import Result
from compress.statistics.paired import discordant, holm_steps, mcnemar_p, paired_difference

Held = Sequence[tuple[Result, Result | None]]  # rows, each with its baseline
_Key = tuple[Any, ...]
CRITERION = frozenset({"criterion"})
TEACHING = frozenset({"alpha", "teacher", "temperature", "method"})  # `method` is in old rows only


def sentences(held: Held) -> dict[str, str]:
    """Run digest -> a text that says if the row beats its controls, for the rows of a section that have any.

    The exact McNemar test compares the accuracies, with Holm's correction over the controls of one baseline.
    """
    families: dict[str, list[tuple[Result, Result, str]]] = {}
    for row, control, kind in _pairs(held):
        families.setdefault(row.model, []).append((row, control, kind))
    said: dict[str, list[str]] = {}
    for family in families.values():
        counts = [discordant(_correct(row), _correct(control)) for row, control, _ in family]
        steps = holm_steps([mcnemar_p(*each) for each in counts])
        for (row, control, kind), each, step in zip(family, counts, steps, strict=True):
            difference, low, high = paired_difference(*each, row.test_images, step)
            verdict = "beats" if low > 0 else "does not beat"
            measured = text.with_interval(difference, low, high, "+")
            said.setdefault(row.run, []).append(f"{verdict} {control.label} ({kind}): {measured}")
    return {run: "; ".join(each) for run, each in said.items()}


def _pairs(held: Held) -> Iterator[tuple[Result, Result, str]]:
    """Each pair of a row and one of its controls, with the kind of the control."""
    known: dict[_Key, list[Result]] = {}
    for row, _ in held:
        for key in _gives(row):
            known.setdefault(key, []).append(row)
    best: dict[tuple[_Key, int], Result] = {}
    controls = {row.run for rows in known.values() for row in rows}
    for row, baseline in held:
        if not row.pipeline or row.run in controls:
            continue
        for key in _wants(row, baseline):
            if candidates := known.get(key):
                # If there are several, prefer the one with the same seed, then the most accurate.
                asked = key, row.seed
                if asked not in best:
                    best[asked] = max(candidates, key=lambda r: (r.seed == asked[1], r.top1))
                yield row, best[asked], str(key[0])


def _gives(row: Result) -> Iterator[_Key]:
    """The keys of the comparisons in which a row is the control."""
    if _is_plain_finetune(row.pipeline):
        yield "extra epochs", row.model, *_size(row), epochs_of(row.pipeline)
    if not row.pipeline or _untaught(row.pipeline):
        yield "from scratch", *_size(row)
    if _untaught(row.pipeline):
        yield "alone", row.model, _without(row, TEACHING)
    if any(spec.get("criterion") == "random" for spec in row.pipeline):
        yield "at random", row.model, _without(row, CRITERION)


def _wants(row: Result, baseline: Result | None) -> Iterator[_Key]:
    """The keys of the controls that a row is compared with; see `_gives`."""
    if epochs := epochs_of(row.pipeline):
        yield "extra epochs", row.model, *_size(row), epochs
    if _stages(row.pipeline) == ["distill"]:
        # Not "from scratch": that training may have had more epochs, or less augmentation.
        yield "alone", row.model, _without(row, TEACHING)
    elif baseline and row.stored_params < baseline.stored_params:
        yield "from scratch", *_size(row)
    if any("criterion" in spec for spec in row.pipeline):
        yield "at random", row.model, _without(row, CRITERION)


def epochs_of(pipeline: Sequence[dict[str, Any]]) -> int:
    """The number of epochs for which the stages of a row trained."""
    counts = [spec.get("epochs") for spec in pipeline]
    return sum(count for count in counts if isinstance(count, int))


def _is_plain_finetune(pipeline: Sequence[dict[str, Any]]) -> bool:
    taught = any(spec.get("teacher") or spec.get("alpha") for spec in pipeline)
    return not taught and set(_stages(pipeline)) == {"finetune"}


def _untaught(pipeline: Sequence[dict[str, Any]]) -> bool:
    """True if the pipeline is `distill --alpha 0`, which uses no teacher."""
    return _stages(pipeline) == ["distill"] and pipeline[0].get("alpha") == 0


def _stages(pipeline: Sequence[dict[str, Any]]) -> list[str]:
    return [spec["stage"] for spec in pipeline]


def _size(row: Result) -> tuple[int, int]:
    """The size of a model, independent of the number type of its weights and of zeros."""
    return row.stored_params, row.macs


def _without(row: Result, options: frozenset[str]) -> str:
    """The stages of a row without `options`, and without options that were not given, because old rows lack those."""
    specs = [
        {k: v for k, v in spec.items() if k not in options and v not in (None, [])}
        for spec in row.pipeline
    ]
    return json.dumps(specs, sort_keys=True)


def _correct(row: Result) -> Any:
    return unpack_bits(row.correct, row.test_images)
