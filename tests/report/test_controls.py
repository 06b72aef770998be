"""Controls among the rows, and the sentence about a method that does not beat its control."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from compress.report import tables
from compress.report.compare import row_records
from compress.rows.result import Result
from support.report_rows import bits, digest, flipped, row

BASE = bits(9000)
SMALL = {"stored_params": 30_000, "nonzero_params": 30_000, "macs": 4_000_000}
SMALL |= {"weight_types": {"float32": 30_000}, "file_bytes": 125_000, "gzip_bytes": 110_000}


def stage(name: str, **options: Any) -> list[dict[str, Any]]:
    return [{"stage": name, **options}]


def said(*rows: Result) -> dict[str, str | None]:
    return {r["label"]: r["controls"] for r in row_records(rows, [])}


def test_a_method_no_better_than_the_same_number_of_epochs_does_not_beat_its_control() -> None:
    control = row(flipped(BASE, 30, 40, 1), stage("finetune", epochs=6))
    method = row(flipped(BASE, 35, 40, 2), stage("qat", epochs=6))
    found = said(row(BASE), control, method)
    assert found["qat --epochs 6"] is not None
    assert found["qat --epochs 6"].startswith(
        "does not beat finetune --epochs 6 (extra epochs): -0.05 ("
    )
    assert found["finetune --epochs 6"] is None
    assert found["baseline"] is None


def test_a_method_that_is_significantly_better_beats_its_control() -> None:
    control = row(flipped(BASE, 300, 0, 1), stage("finetune", epochs=6))
    method = row(flipped(BASE, 10, 10, 2), stage("qat", epochs=6))
    found = said(row(BASE), control, method)["qat --epochs 6"]
    assert found is not None
    assert found.startswith("beats finetune --epochs 6 (extra epochs): +3.00 (+2.")


def test_a_control_has_the_same_total_number_of_epochs() -> None:
    control = row(BASE, stage("finetune", epochs=10))
    chain = row(flipped(BASE, 5, 5), [*stage("prune", epochs=6), *stage("qat", epochs=4)])
    other = row(flipped(BASE, 5, 5), stage("qat", epochs=6))
    taught = row(BASE, stage("finetune", epochs=6, teacher=["self"]), label="taught")
    found = said(row(BASE), control, chain, other, taught)
    assert found[chain.label] is not None
    assert "finetune --epochs 10" in found[chain.label]
    assert found[other.label] is None


def test_a_smaller_network_is_compared_with_one_of_equal_size_from_scratch() -> None:
    smaller = row(flipped(BASE, 500, 0, 1), stage("prune-filters", macs=0.7), **SMALL)
    scratch = row(
        flipped(BASE, 480, 0, 2), label="train --width 0.5", model=digest("scratch"), **SMALL
    )
    text = said(row(BASE), scratch, smaller)[smaller.label]
    assert text == said(row(BASE), smaller, scratch)[smaller.label]
    assert text is not None
    assert text.startswith("does not beat train --width 0.5 (from scratch): -0.20 (")
    untaught = row(flipped(BASE, 480, 0, 3), stage("distill", alpha=0.0), **SMALL)
    text = said(row(BASE), untaught, smaller)[smaller.label]
    assert text is not None
    assert text.startswith("does not beat distill --alpha 0.0 (from scratch)")


def student(correct: Any, label: str = "taught", seed: int = 0, **options: Any) -> Result:
    options = {"alpha": 0.9, "epochs": 40, "temperature": 4.0, "teacher": ["t.keras"]} | options
    return row(correct, stage("distill", **options), label=label, seed=seed, **SMALL)


def test_a_distilled_student_is_compared_with_the_same_student_without_teacher() -> None:
    taught = student(flipped(BASE, 300, 0, 1))
    alone = student(flipped(BASE, 500, 0, 2), "alone", alpha=0.0, teacher=[], temperature=1.0)
    # Rows of older versions have a removed option and lack a newer one.
    alone = dataclasses.replace(alone, pipeline=[alone.pipeline[0] | {"method": "soft-targets"}])
    taught = dataclasses.replace(taught, pipeline=[taught.pipeline[0] | {"views": None}])
    found = said(row(BASE), alone, taught)
    assert found["taught"] is not None
    assert found["taught"].startswith("beats alone (alone): +2.00 (")
    assert found["alone"] is None


@pytest.mark.parametrize("other", [{"epochs": 12}, {"views": 20}, {"set": ["mixup=0.2"]}])
def test_a_student_with_other_training_options_is_not_a_control(other: dict[str, Any]) -> None:
    alone = student(flipped(BASE, 500, 0, 2), "alone", alpha=0.0, teacher=[], **other)
    scratch = row(BASE, label="train --width 0.5", model=digest("scratch"), **SMALL)
    found = said(row(BASE), alone, scratch, student(flipped(BASE, 300, 0, 1)))
    assert found["taught"] is None


def test_another_baseline_is_not_a_control_of_a_quantized_model() -> None:
    other = row(BASE, label="train --recipe other", model=digest("other"))
    made = row(flipped(BASE, 9, 5), stage("quantize", scheme="int8"))
    assert said(row(BASE), other, made)[made.label] is None


def test_random_filter_pruning_is_a_control() -> None:
    chance = row(flipped(BASE, 300, 0, 1), stage("prune-filters", criterion="random"), **SMALL)
    chosen = row(flipped(BASE, 100, 0, 2), stage("prune-filters", criterion="taylor"), **SMALL)
    text = said(row(BASE), chance, chosen)[chosen.label]
    assert text is not None
    assert text.startswith("beats prune-filters --criterion random (at random): +2.00 (")


def test_the_control_with_the_same_seed_is_used() -> None:
    controls = [
        row(flipped(BASE, 300 - 100 * s, 0, s), stage("finetune", epochs=6), seed=s) for s in (0, 1)
    ]
    method = row(flipped(BASE, 250, 0, 5), stage("qat", epochs=6), seed=0)
    text = said(row(BASE), *controls, method)[method.label]
    assert text is not None
    assert ": +0.50 (" in text


def test_the_page_has_a_column_for_controls() -> None:
    control = row(flipped(BASE, 30, 40, 1), stage("finetune", epochs=6))
    method = row(flipped(BASE, 35, 40, 2), stage("qat", epochs=6))
    shown = tables.display(tables.comparison([row(BASE), control, method], []))
    cells = dict(zip(shown["Model"], shown["Against controls"], strict=True))
    assert cells["baseline"] == ""
    assert cells["qat --epochs 6"].startswith("does not beat finetune --epochs 6")
