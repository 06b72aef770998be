"""Which rows are compared with which, and the results of the statistical tests."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from compress.report.compare import NO_BASELINE, Record, row_records
from compress.report.references import read_references
from compress.report.seeds import spread, verdicts
from compress.rows.bits import pack_bits
from compress.rows.result import Result
from compress.statistics.paired import equivalence_margin, mcnemar_p, paired_difference
from compress.statistics.significance import SIGNIFICANCE, holm, wilson_interval
from support.report_rows import IMAGES, PUBLISHED, bits, digest, flipped, pruned, row

BASE = bits(9000)


def compared(*rows: Result) -> list[Record]:
    return row_records(rows, [])


def compressed(*rows: Result) -> list[Record]:
    return [r for r in compared(*rows) if r["kind"] == "compressed"]


def test_a_difference_counts_the_images_lost_and_won() -> None:
    after = flipped(BASE, lost=130, won=30)
    base, made = row(BASE), pruned(after)
    (record,) = compressed(base, made)
    assert record["difference"] == pytest.approx((30 - 130) / IMAGES)
    ends = record["difference_low"], record["difference_high"]
    assert ends == paired_difference(30, 130, IMAGES)[1:]
    assert record["p"] == mcnemar_p(30, 130)
    assert (record["won"], record["lost"]) == (30, 130)
    assert record["equivalence_margin"] == equivalence_margin(30, 130, IMAGES)
    assert record["cross_entropy_difference"] == pytest.approx(0.33 - 0.31)
    assert record["file_ratio"] == 1
    assert record["gzip_ratio"] == made.gzip_bytes / base.gzip_bytes


def test_a_baseline_is_not_compared_with_itself() -> None:
    (record,) = compared(row(BASE))
    assert record["kind"] == "baseline"
    assert record.get("difference") is None
    assert record["p"] is None


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"data": "cifar10-sample"},
        {"model": digest("another model")},
        {"task": "another task"},
        {"splits": {"train": digest("train"), "test": digest("other images")}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_nothing_is_compared_across_data_models_tasks_or_test_images(elsewhere: dict) -> None:
    (record,) = compressed(row(BASE), pruned(flipped(BASE, 60, 50), **elsewhere))
    assert record["remark"] == NO_BASELINE
    assert record.get("difference") is None
    assert record["p_adjusted"] is None
    assert record.get("gzip_ratio") is None


def test_each_row_is_compared_with_the_baseline_of_its_data() -> None:
    sample = bits(880, 1000)
    records = compressed(
        row(BASE),
        row(sample, data="cifar10-sample"),
        pruned(flipped(sample, 20, 10), data="cifar10-sample"),
        pruned(flipped(BASE, 20, 10)),
    )
    assert {r["data"]: r["difference"] for r in records} == pytest.approx(
        {"cifar10": -10 / IMAGES, "cifar10-sample": -10 / 1000}
    )


def test_rows_of_another_baseline_do_not_change_adjusted_p_values() -> None:
    near = pruned(flipped(BASE, 80, 54, 1))
    other = [{"model": digest("other"), "run": digest(str(i))} for i in range(9)]
    others = [row(BASE, model=digest("other"))]
    others += [pruned(flipped(BASE, 60, 60, i), **fields) for i, fields in enumerate(other)]
    alone, *rest = compressed(row(BASE), near, *others)
    assert len(rest) == 9
    assert (alone["p_adjusted"], alone["p"]) == (mcnemar_p(54, 80), mcnemar_p(54, 80))
    assert alone["p"] < SIGNIFICANCE
    assert rest[0]["p_adjusted"] == 1


def test_the_interval_excludes_0_exactly_if_the_adjusted_p_is_significant() -> None:
    lost = [50, 60, 75, 76, 77, 80, 90, 100]
    records = compressed(
        row(BASE), *(pruned(flipped(BASE, n, 50, n), run=digest(str(n))) for n in lost)
    )
    verdicts = [r["p_adjusted"] < SIGNIFICANCE for r in records]
    assert [r["difference_high"] < 0 for r in records] == verdicts
    assert set(verdicts) == {True, False}


def test_p_values_are_adjusted_over_the_rows_of_one_baseline() -> None:
    here = [pruned(flipped(BASE, 60 + 30 * i, 50, i), seed=i) for i in range(3)]
    sample = bits(880, 1000)
    there = [row(sample, data="other"), pruned(flipped(sample, 9, 2), data="other")]
    records = compressed(row(BASE), *here, *there)
    first = [r for r in records if r["data"] == "cifar10"]
    assert [r["p_adjusted"] for r in first] == holm([r["p"] for r in first])
    assert first[1]["p_adjusted"] > first[1]["p"]
    (alone,) = [r for r in records if r["data"] == "other"]
    assert alone["p_adjusted"] == alone["p"]


def test_the_last_row_of_a_run_is_used() -> None:
    early = pruned(flipped(BASE, 500, 0), run=digest("run"), time="2026-01-01T00:00:00+00:00")
    late = pruned(flipped(BASE, 5, 0), run=digest("run"), commit="later")
    (record,) = compressed(row(BASE), early, late)
    assert record["commit"] == "later"
    assert record["difference"] == pytest.approx(-5 / IMAGES)


def test_a_run_measured_on_other_test_images_is_a_separate_row() -> None:
    sample = bits(880, 1000)
    first = pruned(flipped(BASE, 5, 0), run=digest("run"))
    second = pruned(flipped(sample, 5, 0), run=digest("run"), data="cifar10-sample")
    assert len(compressed(first, second)) == 2


def test_a_baseline_measured_with_two_seeds_is_listed_once() -> None:
    records = compared(row(BASE, seed=0), row(BASE, seed=1, commit="later"))
    assert [r["commit"] for r in records] == ["later"]


def test_a_training_row_is_the_baseline_only_if_no_baseline_row_exists() -> None:
    trained = row(BASE, label="train --recipe strong", file_bytes=450_111)
    made = pruned(flipped(BASE, 10, 0))
    (record,) = compressed(trained, made)
    assert record["file_ratio"] == made.file_bytes / 450_111
    (record,) = compressed(row(BASE, file_bytes=450_222), trained, made)
    assert record["file_ratio"] == made.file_bytes / 450_222


def test_a_baseline_is_listed_before_its_compressed_models() -> None:
    other = digest("other")
    rows = [pruned(BASE, 0.75), pruned(BASE, 0.5), row(BASE, model=other), row(BASE)]
    assert [(r["label"], r["model"]) for r in compared(*rows)] == [
        ("baseline", digest("cnn")),
        ("prune --sparsity 0.5", digest("cnn")),
        ("prune --sparsity 0.75", digest("cnn")),
        ("baseline", other),
    ]


def test_only_rows_of_the_same_data_are_compared_with_published_figures() -> None:
    figures = read_references([PUBLISHED])
    same, sample = row_records([row(BASE), row(bits(880, 1000), data="cifar10-sample")], figures)
    assert same["from_published_test"] == pytest.approx(0.9 - 0.8543)
    assert same["from_published_validation"] == pytest.approx(0.9 - 0.9263)
    assert same["from_published_test_low"] < 0.9 - 0.8543 < same["from_published_test_high"]
    assert not [key for key in sample if key.startswith("from_published")]


def test_spread_over_seeds_matches_values_worked_out_by_hand() -> None:
    rows = [pruned(bits(r, 100), seed=s) for s, r in enumerate((88, 90, 95))]
    (joined,) = spread(compared(row(bits(90, 100)), *rows))
    assert (joined["n"], joined["seeds"]) == (3, "0 1 2")
    assert joined["top1_mean"] == pytest.approx(0.91)
    # Deviations -3, -1 and 4 points: sqrt((9 + 1 + 16) / 2) is 3.606.
    assert joined["top1_sd"] == pytest.approx(0.03606, abs=5e-6)
    assert joined["difference_mean"] == pytest.approx(0.01)
    assert joined["difference_sd"] == pytest.approx(joined["top1_sd"])


def test_the_interval_over_images_and_the_deviation_over_seeds_are_separate() -> None:
    (joined,) = spread(compared(*(pruned(bits(r), seed=s) for s, r in enumerate((8790, 8810)))))
    assert (joined["top1_low"], joined["top1_high"]) == wilson_interval(8800, IMAGES)
    assert joined["top1_sd"] == pytest.approx(0.001414, abs=1e-6)


def seeded(rights: list[int], sparsity: float) -> list[Result]:
    return [
        pruned(bits(right), sparsity, seed=seed, run=digest(f"{sparsity} {seed}"))
        for seed, right in enumerate(rights)
    ]


def test_a_verdict_over_seeds_reports_the_paired_t_test_and_its_n() -> None:
    # Differences 1.0, 1.1 and 0.9 points: mean 1.0, deviation 0.1, t = 17.3 with 2 degrees of freedom.
    rows = [*seeded([8800, 8830, 8790], 0.5), *seeded([8700, 8720, 8700], 0.75)]
    assert verdicts(compared(*rows)) == [
        "prune --sparsity 0.5 beats prune --sparsity 0.75 over seeds: +1.00 points, deviation 0.10, "
        "n = 3 pairs of seeds, paired t test, p = 0.0033."
    ]


def test_a_verdict_over_seeds_says_not_shown_if_the_paired_test_is_not_significant() -> None:
    (said,) = verdicts(compared(*seeded([8800, 8830], 0.5), *seeded([8790, 8700], 0.75)))
    assert said.startswith(
        "That prune --sparsity 0.5 beats prune --sparsity 0.75 over seeds is not"
    )
    assert "n = 2 pairs of seeds" in said
    other = [dataclasses.replace(r, seed=r.seed + 5) for r in seeded([8000, 8000], 0.75)]
    (apart,) = verdicts(compared(*seeded([8800, 8830], 0.5), *other))
    assert apart.endswith("is not shown: they share 0 seeds, and 2 are needed.")
    assert verdicts(compared(*seeded([8800, 8830], 0.5))) == []


def test_models_with_unequal_epochs_are_not_compared_over_seeds() -> None:
    def trained(right: int, width: float, epochs: int) -> list[Result]:
        stage = {"stage": "distill", "student_width": width, "epochs": epochs}
        return [
            row(bits(right + 10 * seed), [stage], label=f"half {width} {epochs}", seed=seed)
            for seed in range(2)
        ]

    rows = [*trained(8800, 0.5, 40), *trained(8700, 0.5, 12), *trained(8600, 0.25, 40)]
    (said,) = verdicts(compared(*rows))
    assert said.startswith("That half 0.5 40 beats half 0.25 40 over seeds is not shown: +2.00")


@pytest.mark.parametrize("epochs", ["3", [3], {"a": 3}])
def test_epochs_that_are_not_a_whole_number_count_as_no_epochs(epochs: Any) -> None:
    stages = {8800: {"stage": "prune", "epochs": epochs}, 8700: {"stage": "round"}}
    rows = [row(bits(r + 10 * s), [stages[r]], seed=s) for r in stages for s in range(2)]
    (said,) = verdicts(compared(*rows))
    assert "beats round over seeds" in said


def test_the_last_row_of_a_seed_that_ran_twice_is_used() -> None:
    rows = [
        pruned(bits(10, 100), seed=0, run=digest("a")),
        pruned(bits(80, 100), seed=1, run=digest("b")),
        pruned(bits(90, 100), seed=0, run=digest("c")),
    ]
    (joined,) = spread(compared(*rows))
    assert joined["n"] == 2
    assert joined["top1_mean"] == pytest.approx(0.85)
    assert joined["difference_mean"] is None


def test_seeds_are_joined_across_a_new_option_at_its_default_only() -> None:
    old = pruned(bits(80, 100))
    named = [{"stage": "prune", "sparsity": 0.5, "scope": "layer"}]
    new = dataclasses.replace(pruned(bits(82, 100), seed=1, run=digest("b")), pipeline=named)
    (joined,) = spread(compared(row(bits(90, 100)), old, new))
    assert joined["n"] == 2
    other = [{"stage": "prune", "sparsity": 0.25}]
    assert spread(compared(row(bits(90, 100)), old, dataclasses.replace(new, pipeline=other))) == []


def test_one_seed_or_two_models_have_no_spread() -> None:
    one = pruned(bits(80, 100))
    assert spread(compared(one)) == []
    assert (
        spread(
            compared(one, dataclasses.replace(one, seed=1, run=digest("x"), model=digest("other")))
        )
        == []
    )


def test_trainings_with_two_seeds_are_joined_although_their_models_differ() -> None:
    first = row(bits(80, 100), label="train --recipe strong", model=digest("m0"))
    second = row(bits(90, 100), label="train --recipe strong", model=digest("m1"), seed=1)
    (joined,) = spread(compared(first, second))
    assert joined["top1_mean"] == pytest.approx(0.85)


def test_models_are_compared_image_by_image() -> None:
    """Two models with the same accuracy and different mistakes differ by 0, with a wide interval."""
    other = flipped(BASE, 400, 400)
    assert pack_bits(other) != pack_bits(BASE)
    (record,) = compressed(row(BASE), pruned(other))
    assert record["difference"] == 0
    assert record["p"] == 1
    assert record["difference_high"] > 0.005
