"""Results over several seeds: mean, standard deviation and n, and which of two pipelines is better."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np

from compress.report import columns, text
from compress.report.compare import Record
from compress.report.controls import epochs_of
from compress.statistics.paired import paired_t
from compress.statistics.significance import SIGNIFICANCE, wilson_interval

Group = dict[int, Record]  # seed -> its run

# Quantities whose mean and standard deviation over seeds are reported.
SPREAD_OVER = ("top1", "difference", "cross_entropy", "sparsity", "gzip_bytes")
# Fields that records must share to be joined over seeds.
WHERE = ("task", "data", "split", "split_digest", "trained_on")


def spread(records: Sequence[Record]) -> list[Record]:
    """Mean and standard deviation (n - 1) over seeds, for each pipeline that was run with at least two seeds.

    Separately, `top1_low` and `top1_high` are the Wilson interval of the mean: how far the choice of the images can
    have moved it.
    """
    joined_records = []
    for seeds in _groups(records):
        first = next(iter(seeds.values()))
        joined = {k: first[k] for k in (*WHERE, "label")}
        joined |= {"n": len(seeds), "seeds": " ".join(map(str, sorted(seeds)))}
        for field in SPREAD_OVER:
            values = [r[field] for r in seeds.values() if r.get(field) is not None]
            known = len(values) == len(seeds)
            joined[f"{field}_mean"] = float(np.mean(values)) if known else None
            joined[f"{field}_sd"] = float(np.std(values, ddof=1)) if known else None
        right = round(joined["top1_mean"] * first["images"])
        joined["top1_low"], joined["top1_high"] = wilson_interval(right, first["images"])
        joined_records.append(joined)
    return joined_records


def sentence(joined: Record) -> str:
    """A record of `spread` in words: the spread over seeds and, separately, over draws of the images."""
    shown = [f"top-1 {_plus_minus(joined, 'top1')} %"]
    if joined["difference_mean"] is not None:
        shown.append(f"{_plus_minus(joined, 'difference', '+')} points from baseline")
    low, high = text.points(joined["top1_low"]), text.points(joined["top1_high"])
    return (
        f"{columns.name(joined)} over {joined['n']} seeds ({joined['seeds']}), mean and deviation: "
        f"{', '.join(shown)}. Another draw of the images can move the mean within {low} to {high} %."
    )


def _plus_minus(joined: Record, field: str, signed: str = "") -> str:
    mean, deviation = joined[f"{field}_mean"], joined[f"{field}_sd"]
    return f"{text.points(mean, signed)} \N{PLUS-MINUS SIGN} {text.points(deviation)}"


def verdicts(records: Sequence[Record]) -> list[str]:
    """Sentences on whether each group of seeds in a section beats the next group with a lower mean.

    Only groups whose pipelines trained for the same number of epochs are compared: more epochs alone can win.
    Runs of the same seed are pairs; see `paired.paired_t`. Labels in the sentences are untrusted text.
    """
    ranked = sorted(_groups(records), key=_mean_top1, reverse=True)
    alike = ((a, next(filter(_as_long(a), ranked[i:]), None)) for i, a in enumerate(ranked, 1))
    return [_verdict(a, b) for a, b in alike if b]


def _as_long(group: Group) -> Callable[[Group], bool]:
    """A test if another group may have trained for as many epochs. Trainings from scratch do not record epochs."""
    return lambda other: (
        None in (_epochs(group), _epochs(other)) or _epochs(group) == _epochs(other)
    )


def _epochs(group: Group) -> int | None:
    """The number of epochs for which a pipeline trained; None if there is no pipeline."""
    stages = json.loads(next(iter(group.values()))["pipeline"])
    return epochs_of(stages) if stages else None


def _verdict(a: Group, b: Group) -> str:
    names = [columns.name(next(iter(group.values()))) for group in (a, b)]
    shared = sorted(a.keys() & b.keys())
    differences = [a[seed]["top1"] - b[seed]["top1"] for seed in shared]
    claim = f"{names[0]} beats {names[1]} over seeds"
    if len(shared) < 2:
        return f"That {claim} is not shown: they share {len(shared)} seeds, and 2 are needed."
    mean, sd, p = paired_t(differences)
    measured = (
        f"{text.points(mean, '+')} points, deviation {text.points(sd)}, n = {len(shared)} pairs of "
        f"seeds, paired t test, p = {text.p_value(p)}"
    )
    if p < SIGNIFICANCE and mean > 0:
        return f"{claim}: {measured}."
    return f"That {claim} is not shown: {measured}."


def _mean_top1(group: Group) -> float:
    return float(np.mean([r["top1"] for r in group.values()]))


def _groups(records: Sequence[Record]) -> list[Group]:
    """The groups of runs of one pipeline, each with at least two seeds.

    The last row of each seed counts. Runs made from different models are never joined; trainings
    from scratch are joined by their label. An option that is missing in some of the rows is ignored: a new option
    has a default that changes nothing.
    """
    labelled: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        if record["label"] != "baseline":
            made_of = record["model"] if record["kind"] == "compressed" else ""
            where = tuple(record[k] for k in WHERE)
            stages = str(len(json.loads(record["pipeline"])))
            labelled.setdefault((*where, made_of, record["label"], stages), []).append(record)
    groups: dict[tuple[str, ...], Group] = {}
    for key, alike in labelled.items():
        pipelines = [json.loads(record["pipeline"]) for record in alike]
        options = [set.intersection(*map(set, each)) for each in zip(*pipelines, strict=True)]
        for record, pipeline in zip(alike, pipelines, strict=True):
            shared = [
                {k: s[k] for k in sorted(ks)} for s, ks in zip(pipeline, options, strict=True)
            ]
            groups.setdefault((*key, json.dumps(shared)), {})[record["seed"]] = record
    return [group for group in groups.values() if len(group) > 1]
