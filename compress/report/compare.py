"""Rows to records: each row is compared with its baseline, with statistical tests. Runs no model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from compress.report import families
from compress.report.references import PublishedFigure, accuracies, find
from compress.rows.bits import unpack_bits
from compress.rows.field_check import kinds_of, number_of
from compress.rows.measurement import Measurement
from compress.rows.result import Result
from compress.significance import (
    holm,
    mcnemar_p,
    paired_difference,
    two_proportion_difference,
    wilson_interval,
)

Record = dict[str, Any]
NO_BASELINE = "no baseline among the rows"

# Quantities whose mean and standard deviation over seeds are reported.
SPREAD_OVER = ("top1", "difference", "cross_entropy", "sparsity", "gzip_bytes")
# Fields that records must share to be joined over seeds.
WHERE = ("task", "data", "split", "split_digest", "trained_on")
# What was measured as one number -> int or float.
MEASURED = {
    name: number
    for name, kind in kinds_of(Measurement).items()
    if name != "test_images" and (number := number_of(kind))
}
# Fields of a row that a record takes over as they are.
_KEPT = (
    *("task", "data", "label", "seed", "run", "model", "params", "seconds", "peak_memory_bytes"),
    *("tflite_digest", "commit", "time", "command", "machine", "trained_on", *MEASURED),
)


def reference_records(figures: Sequence[PublishedFigure]) -> list[Record]:
    """One record for each published accuracy, with what else was published beside it."""
    records = []
    for figure in accuracies(figures):
        low, high = wilson_interval(figure.successes, figure.images or 0)
        params = find(figures, figure.name, "params")
        loss = find(figures, figure.name, "cross_entropy", figure.split)
        records.append(
            {
                "kind": "reference",
                "label": f"{figure.name}, published, {figure.split}",
                "data": figure.data,
                "split": figure.split,
                "images": figure.images,
                "top1": figure.value,
                "top1_low": low,
                "top1_high": high,
                "cross_entropy": loss.value if loss else None,
                "params": int(params.value) if params else None,
            }
        )
    return records


def row_records(rows: Sequence[Result], figures: Sequence[PublishedFigure]) -> list[Record]:
    """One record for each row that counts, in sections of the same task, data, split and images.

    A model that came in a file of somebody else, and what was made of it, is a section of its own. In a section come
    first the baseline whose row is oldest, then what was made of it, then the next. p values are adjusted over the
    section. Nothing is compared across sections.
    """
    sections: dict[tuple[str, ...], list[Result]] = {}
    counting = _counting(rows)
    foreign = families.foreign_models(counting)
    for row in counting:
        sections.setdefault((*_where(row), foreign.get(row.model, "")), []).append(row)
    records = []
    for key in sorted(sections):
        section = [
            _record(r, _baseline(r, sections[key]), figures) | {"foreign_model": key[-1]}
            for r in _in_order(sections[key])
        ]
        tested = [r for r in section if r["p"] is not None]
        for record, p in zip(tested, holm([r["p"] for r in tested]), strict=True):
            record["p_adjusted"] = p
        records += section
    return records


def _where(row: Result) -> tuple[str, str, str, str]:
    """The key of rows that may be compared. Rows on test and on validation images never share it."""
    return row.task, row.data, row.measured_on, row.splits[row.measured_on]


def _counting(rows: Sequence[Result]) -> list[Result]:
    """The rows without those that a later row of the same run, or of the same baseline, replaces."""
    last: dict[tuple[str, ...], Result] = {}
    for row in rows:
        # Measuring a model that came in as it is draws nothing at random: its seed says nothing.
        same = ("model", row.model, row.label) if not row.pipeline else ("run", row.run)
        key = (*same, row.trained_on, *_where(row))
        last.pop(key, None)
        last[key] = row
    return list(last.values())


def _in_order(section: Sequence[Result]) -> list[Result]:
    families = list(dict.fromkeys(r.model for r in section))
    # Sorting is stable: rows that are alike in all this stay in the order of the file.
    return sorted(
        section, key=lambda r: (families.index(r.model), len(r.pipeline), r.label, r.seed)
    )


def _baseline(row: Result, section: Sequence[Result]) -> Result | None:
    """The row of the model that `row` was made of, on the same images."""
    candidates = [r for r in section if r.model == row.model and not r.pipeline]
    # A row of `compress train` measures the same file and stands in where "baseline" is missing.
    return max(
        candidates,
        key=lambda r: (r.trained_on == row.trained_on, r.label == "baseline"),
        default=None,
    )


def _remark(row: Result, baseline: Result | None) -> str:
    """The remark on a row's comparison with its baseline; empty if there is none."""
    if not baseline:
        return NO_BASELINE
    return f"baseline trained on {baseline.trained_on}" * (row.trained_on != baseline.trained_on)


def _decided(row: Result) -> list[str]:
    """A sentence on what the row's last stage recorded while it ran; none if it recorded nothing."""
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in row.recorded.items()}
    return [f"decided: {', '.join(f'{k} {v}' for k, v in texts.items())}"] if texts else []


def _record(row: Result, baseline: Result | None, figures: Sequence[PublishedFigure]) -> Record:
    record = {field: getattr(row, field) for field in _KEPT} | {
        "kind": "compressed" if row.pipeline else "baseline",
        "split": row.measured_on,
        "images": row.test_images,
        "split_digest": row.splits[row.measured_on],
        "pipeline": json.dumps(row.pipeline, sort_keys=True),
        "weight_types": json.dumps(row.weight_types, sort_keys=True),
        "versions": json.dumps(row.versions, sort_keys=True),
        "notes": " ".join([*row.notes, *_decided(row)]),
        "remark": _remark(row, baseline),
        "networks": families.networks(row, baseline, figures),
        "p": None,
        "p_adjusted": None,
    }
    correct = correct_images(row)
    if baseline and row.pipeline:
        difference, low, high = paired_difference(correct, correct_images(baseline))
        record |= {
            "difference": difference,
            "difference_low": low,
            "difference_high": high,
            "p": mcnemar_p(correct, correct_images(baseline)),
            "cross_entropy_difference": row.cross_entropy - baseline.cross_entropy,
            "file_ratio": row.file_bytes / baseline.file_bytes,
            "gzip_ratio": row.gzip_bytes / baseline.gzip_bytes,
        }
    for figure in accuracies(figures, row.data, row.measured_on):
        if figure.name not in record["networks"]:
            continue
        _, low, high = two_proportion_difference(
            int(correct.sum()), len(correct), figure.successes, figure.images or 0
        )
        # The first published model of this data is the one that rows are held against.
        record.setdefault(f"from_published_{figure.split}", row.top1 - figure.value)
        record.setdefault(f"from_published_{figure.split}_low", low)
        record.setdefault(f"from_published_{figure.split}_high", high)
    return record


def figures_beside(
    rows: Sequence[Result], figures: Sequence[PublishedFigure]
) -> list[PublishedFigure]:
    """The figures of the published models whose network is among that of the rows."""
    names = {name for record in row_records(rows, figures) for name in record["networks"]}
    return [figure for figure in figures if figure.name in names]


def correct_images(row: Result) -> np.ndarray:
    """Which of the images that `row` was measured on were classified correctly, bool [n]."""
    return unpack_bits(row.correct, row.test_images)


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
