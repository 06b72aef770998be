"""Make records from rows: statistical tests compare each row with its baseline. No model is run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from compress.report import controls, families
from compress.report.references import PublishedFigure, accuracies, find
from compress.rows.bits import unpack_bits
from compress.rows.field_check import kinds_of, number_of
from compress.rows.measurement import Measurement
from compress.rows.result import Result
from compress.statistics.paired import (
    discordant,
    equivalence_margin,
    holm_steps,
    mcnemar_p,
    paired_difference,
)
from compress.statistics.significance import holm, two_proportion_difference, wilson_interval

Record = dict[str, Any]
NO_BASELINE = "no baseline among the rows"

# Fields that rows must share to be compared.
SECTION = ("task", "data", "split", "split_digest", "trained_on", "foreign_model")
# Measured field with one number -> int or float.
MEASURED = {
    name: number
    for name, kind in kinds_of(Measurement).items()
    if name != "test_images" and (number := number_of(kind))
}
# Fields of a row that a record copies unchanged.
_KEPT = (
    *("label", "seed", "run", "model", "params", "seconds", "peak_memory_bytes"),
    *("tflite_digest", "commit", "time", "command", "machine", *MEASURED),
)


def reference_records(figures: Sequence[PublishedFigure]) -> list[Record]:
    """One record for each published accuracy, with other figures published for the same model."""
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
    """One record for each row that counts, in sections of the same task, data, split, images and `trained_on`.

    A foreign model and all models made from it have a separate section. A section starts with the baseline whose row
    is oldest and the rows made from it; the next baseline and its rows follow. Rows are never compared across sections.
    p values are adjusted over the rows of one baseline.
    """
    records = []
    for section, held in sections(rows).items():
        shared = dict(zip(SECTION, section, strict=True))
        beaten = controls.sentences(held)
        made = [
            _record(row, baseline, figures) | shared | {"controls": beaten.get(row.run)}
            for row, baseline in held
        ]
        tested: dict[str, list[Record]] = {}
        for r in made:
            if r["p"] is not None:
                tested.setdefault(r["model"], []).append(r)
        for family in tested.values():
            _test(family)
        records += made
    return records


def _test(family: Sequence[Record]) -> None:
    """Adjust the p values of the rows of one baseline, and add the interval at the step of each."""
    p_values = [r["p"] for r in family]
    adjusted, steps = holm(p_values), holm_steps(p_values)
    for record, p, step in zip(family, adjusted, steps, strict=True):
        counts = (record["won"], record["lost"], record["images"])
        _, low, high = paired_difference(*counts, step)
        record |= {"p_adjusted": p, "difference_low": low, "difference_high": high}


def sections(
    rows: Sequence[Result],
) -> dict[tuple[str, ...], list[tuple[Result, Result | None]]]:
    """Values of `SECTION` -> the rows that count in that section, in order, each with its baseline."""
    counting = _counting(rows)
    foreign, trained_on = families.foreign_models(counting), families.trained_on(counting)
    together: dict[tuple[str, ...], list[Result]] = {}
    for row in counting:
        trained = trained_on.get(row.model, row.trained_on)
        key = (*_where(row), trained, foreign.get(row.model, ""))
        together.setdefault(key, []).append(row)
    return {
        key: _with_baselines(_in_order(together[key]), together[key]) for key in sorted(together)
    }


def _where(row: Result) -> tuple[str, str, str, str]:
    """The data that a row was measured on; it is different for rows on test and on validation images."""
    return row.task, row.data, row.measured_on, row.splits[row.measured_on]


def _counting(rows: Sequence[Result]) -> list[Result]:
    """The rows that count: a later row of the same run, or of the same baseline, replaces an earlier one."""
    last: dict[tuple[str, ...], Result] = {}
    for row in rows:
        # Measuring an unchanged incoming model uses no random numbers, so its seed does not matter.
        same = ("model", row.model, row.label) if not row.pipeline else ("run", row.run)
        key = (*same, row.trained_on, *_where(row))
        last.pop(key, None)
        last[key] = row
    return list(last.values())


def _in_order(section: Sequence[Result]) -> list[Result]:
    models = dict.fromkeys(r.model for r in section)
    families = {model: index for index, model in enumerate(models)}
    # Sorting is stable: rows with equal keys stay in the order of the file.
    return sorted(section, key=lambda r: (families[r.model], len(r.pipeline), r.label, r.seed))


def _with_baselines(
    ordered: Sequence[Result], section: Sequence[Result]
) -> list[tuple[Result, Result | None]]:
    """The rows of a section, each with the row of its baseline on the same images."""
    found: dict[str, Result] = {}
    for r in section:
        # A row of `compress train` measures the same file, so it is used if the "baseline" row is missing.
        known = found.get(r.model)
        if not r.pipeline and (
            known is None or (r.label == "baseline" and known.label != "baseline")
        ):
            found[r.model] = r
    return [(row, found.get(row.model)) for row in ordered]


def _decided(row: Result) -> list[str]:
    """A sentence with the values that the last stage recorded while it ran; none if it recorded nothing."""
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in row.recorded.items()}
    return [f"decided: {', '.join(f'{k} {v}' for k, v in texts.items())}"] if texts else []


def _record(row: Result, baseline: Result | None, figures: Sequence[PublishedFigure]) -> Record:
    record = {field: getattr(row, field) for field in _KEPT} | {
        "kind": "compressed" if row.pipeline else "baseline",
        "images": row.test_images,
        "pipeline": json.dumps(row.pipeline, sort_keys=True),
        "weight_types": json.dumps(row.weight_types, sort_keys=True),
        "versions": json.dumps(row.versions, sort_keys=True),
        "notes": " ".join([*row.notes, *_decided(row)]),
        "remark": "" if baseline else NO_BASELINE,
        "xz_bytes": (row.coded_bytes or {}).get("xz"),
        "entropy_bytes": (row.coded_bytes or {}).get("entropy"),
        "networks": families.networks(row, baseline, figures),
        "p": None,
        "p_adjusted": None,
    }
    correct = correct_images(row)
    if baseline and row.pipeline:
        won, lost = discordant(correct, correct_images(baseline))
        record |= {
            "won": won,
            "lost": lost,
            "difference": (won - lost) / len(correct),
            "equivalence_margin": equivalence_margin(won, lost, len(correct)),
            "p": mcnemar_p(won, lost),
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
        # Rows are compared with the first published model of this data.
        record.setdefault(f"from_published_{figure.split}", row.top1 - figure.value)
        record.setdefault(f"from_published_{figure.split}_low", low)
        record.setdefault(f"from_published_{figure.split}_high", high)
    return record


def figures_beside(
    rows: Sequence[Result], figures: Sequence[PublishedFigure]
) -> list[PublishedFigure]:
    """The figures of the published models that have the same network as one of the rows."""
    held = [pair for section in sections(rows).values() for pair in section]
    names = {n for row, baseline in held for n in families.networks(row, baseline, figures)}
    return [figure for figure in figures if figure.name in names]


def correct_images(row: Result) -> np.ndarray:
    """Which images of the split of `row` were classified correctly, bool [n]."""
    return unpack_bits(row.correct, row.test_images)
