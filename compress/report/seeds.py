"""What was run with several seeds: mean, deviation and n."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from compress.report.compare import Record

# Quantities whose mean and standard deviation over seeds are reported.
SPREAD_OVER = ("top1", "difference", "cross_entropy", "sparsity", "gzip_bytes")
# Fields that records must share to be joined over seeds.
WHERE = ("task", "data", "split", "split_digest", "trained_on")


def spread(records: Sequence[Record]) -> list[Record]:
    """Mean and standard deviation (n - 1) over seeds, for whatever was run with two seeds or more.

    Of each seed the last row counts. What was made of one model is never joined with what was made
    of another; trainings from scratch are joined by their label. Options that one row does not name yet do not part
    it from others: a new option has a default that changes nothing.
    """
    labelled: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        if record["label"] != "baseline":
            made_of = record["model"] if record["kind"] == "compressed" else ""
            where = tuple(record[k] for k in WHERE)
            stages = str(len(json.loads(record["pipeline"])))
            labelled.setdefault((*where, made_of, record["label"], stages), []).append(record)
    groups: dict[tuple[str, ...], dict[int, Record]] = {}
    for key, alike in labelled.items():
        pipelines = [json.loads(record["pipeline"]) for record in alike]
        options = [set.intersection(*map(set, each)) for each in zip(*pipelines, strict=True)]
        for record, pipeline in zip(alike, pipelines, strict=True):
            shared = [
                {k: s[k] for k in sorted(ks)} for s, ks in zip(pipeline, options, strict=True)
            ]
            groups.setdefault((*key, json.dumps(shared)), {})[record["seed"]] = record
    joined_records = []
    for seeds in groups.values():
        if len(seeds) < 2:
            continue
        first = next(iter(seeds.values()))
        joined = {k: first[k] for k in (*WHERE, "label")}
        joined |= {"n": len(seeds), "seeds": " ".join(map(str, sorted(seeds)))}
        for field in SPREAD_OVER:
            values = [r[field] for r in seeds.values() if r.get(field) is not None]
            known = len(values) == len(seeds)
            joined[f"{field}_mean"] = float(np.mean(values)) if known else None
            joined[f"{field}_sd"] = float(np.std(values, ddof=1)) if known else None
        joined_records.append(joined)
    return joined_records
