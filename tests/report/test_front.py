"""Which file to ship: the Pareto front, the sentence that answers the question, and the picture."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.report import front, placing, tables
from compress.report.compare import Record
from compress.report.references import read_references
from compress.report.scene import Pixels, scene
from compress.rows.result import Result
from support.report_rows import PUBLISHED, bits, digest, flipped, pruned, row

FILE = front.AXES[0]
BASE = bits(9000)


def records(*rows: Result) -> list[Record]:
    return [r for r in tables.compared_records(rows, []) if r["kind"] != "reference"]


def made(lost: int, won: int, kilobytes: float, **fields: object) -> Result:
    return pruned(flipped(BASE, lost, won, lost), file_bytes=int(1000 * kilobytes), **fields)


POINTS = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 30)), min_size=1, max_size=40)


@given(POINTS)
def test_the_front_has_the_rows_that_no_other_row_dominates(points: list[tuple[int, int]]) -> None:
    rows = [{"file_bytes": size, "top1": right / 30} for size, right in points]
    line = front.undominated(rows, FILE)
    for a, b in pairwise(line):
        assert a["file_bytes"] > b["file_bytes"]
        assert a["top1"] > b["top1"]
    for r in rows:
        smaller = [f for f in line if f["file_bytes"] <= r["file_bytes"]]
        assert max(f["top1"] for f in smaller) >= r["top1"]


def test_the_answer_names_the_smallest_equivalent_file_and_the_cost_of_smaller_ones() -> None:
    rows = records(
        row(BASE), made(60, 50, 300), made(62, 50, 100), made(300, 50, 60), made(900, 50, 30)
    )
    told = front.plain(front.answer(rows, FILE))
    assert told.startswith(
        "Ship prune --sparsity 0.5: 100.0 KB, 20.8 % of the baseline's 480.0 KB, and no cost that "
        "these 10,000 test images show: 89.88 % against 90.00 %, the same within 0.30 points."
    )
    assert " Each step down costs: prune --sparsity 0.5, 60.0 KB: -2.50 points (" in told
    assert "; prune --sparsity 0.5, 30.0 KB: -8.50 points (" in told


def test_too_few_images_do_not_show_that_a_file_is_equivalent() -> None:
    base = bits(90, 100)
    rows = records(row(base), pruned(flipped(base, 6, 4), file_bytes=100_000))
    told = front.plain(front.answer(rows, FILE))
    assert told.startswith(
        "Nothing smaller here is shown to be as accurate as baseline within 1.00 points"
    )
    assert "not distinguishable, the same within" in told


def test_a_file_made_from_another_model_is_not_recommended() -> None:
    small = bits(8400)
    other = {"model": digest("narrow")}
    rows = records(
        row(BASE), made(60, 50, 300), made(61, 50, 200),
        row(small, label="train --width 0.5", file_bytes=120_000, **other),
        pruned(small, file_bytes=90_000, **other),
    )  # fmt: skip
    told = front.plain(front.answer(rows, FILE))
    assert told.startswith("Ship prune --sparsity 0.5: 200.0 KB")
    assert "90.0 KB: 84.00 %, made of another model" in told


def test_the_answer_links_its_models_to_their_rows() -> None:
    rows = records(row(BASE), made(60, 50, 300))
    assert [run for _, run in front.answer(rows, FILE) if run] == [rows[1]["run"]]


@pytest.mark.parametrize("rows", [[row(BASE)], [pruned(BASE)]])
def test_without_a_baseline_or_a_compressed_model_there_is_no_answer(rows: list[Result]) -> None:
    assert "yet" in front.plain(front.answer(records(*rows), FILE))


def test_the_answer_uses_gzip_bytes_if_no_file_is_smaller() -> None:
    rows = records(row(BASE), pruned(flipped(BASE, 60, 50)))
    axis = front.main_axis(rows)
    assert axis.field == "gzip_bytes"
    told = front.plain(front.answer(rows, axis))
    assert told.startswith("Ship prune --sparsity 0.5: 264.0 KB after gzip, 60.0 % of")
    assert front.main_axis(records(row(BASE))) is FILE


def test_only_axes_with_different_values_are_offered() -> None:
    coded = made(60, 50, 300, coded_bytes={"xz": 70_000, "entropy": 60_000})
    plain = [a.field for a in front.axes_of(records(row(BASE), made(60, 50, 300)))]
    assert plain == ["file_bytes", "gzip_bytes"]
    other = made(61, 50, 200, coded_bytes={"xz": 80_000, "entropy": 60_000})
    both = [a.field for a in front.axes_of(records(coded, other))]
    assert both == ["file_bytes", "gzip_bytes", "xz_bytes"]


def test_rows_of_low_accuracy_are_left_out_of_the_picture_and_listed() -> None:
    figures = read_references([PUBLISHED])
    bad = [pruned(bits(3000 + s), 0.9, seed=s, file_bytes=1000) for s in range(3)]
    rows = tables.compared_records([row(BASE), made(60, 50, 300), *bad], figures)
    seen = scene([r for r in rows if r["kind"] != "reference"], FILE, figures)
    assert seen is not None
    assert 0.84 < seen.y[0] < 0.86  # the published 85.43 % is close enough to be in the picture
    assert seen.outside.startswith("3 rows lie below the picture: prune --sparsity 0.9, 30.02 %; ")
    assert seen.outside.endswith("; and 1 more.")
    assert seen.x == pytest.approx((300 / 1.25, 480 * 1.25))


def test_published_results_of_other_networks_are_drawn_if_they_lie_in_the_picture(
    tmp_path: Path,
) -> None:
    field = tmp_path / "field.csv"
    field.write_text(
        "name,data,quantity,split,images,value,as_published,source\n"
        "near,cifar10,accuracy,test,10000,0.93,93 %,a page\n"
        "near,cifar10,file_bytes,,,400000,400 KB,a page\n"
        "large,cifar10,accuracy,test,10000,0.9,90 %,a page\n"
        "large,cifar10,file_bytes,,,900000,900 KB,a page\n"
    )
    figures = read_references([field])
    rows = records(row(BASE), made(60, 50, 300))
    seen = scene(rows, FILE, figures)
    assert seen is not None
    assert [m.name for m in seen.marks] == ["near"]
    assert seen.y[1] > 0.93
    assert seen.outside == "Published for other networks, and outside the picture: large."
    x, y = Pixels(seen, (700, 350)).mark(seen.marks[0])
    assert 0 < x < 700
    assert 0 < y < 30
    validation = [{**r, "split": "validation"} for r in rows]
    assert not (scene(validation, FILE, figures) or seen).marks


def test_the_latency_axis_states_the_share_of_the_baseline_once() -> None:
    axis = next(a for a in front.AXES if a.field == "latency")
    fields = zip(records(row(BASE), made(60, 50, 300)), (1.0, 0.25), strict=True)
    rows = [{**r, "latency": ratio} for r, ratio in fields]
    told = front.plain(front.answer(rows, axis))
    assert told.startswith("Ship prune --sparsity 0.5: 25.0 % of the baseline's time, and no cost")
    seen = scene(rows, axis, [])
    assert seen is not None
    assert seen.x == pytest.approx((25 / 1.25, 100 * 1.25))


def test_at_most_400_rows_off_the_front_are_drawn_and_the_rest_are_counted() -> None:
    many = [made(60, 40, 400, seed=s) for s in range(450)]
    base = records(row(BASE), many[0])
    rows = [base[0], *({**base[1], "seed": s} for s in range(450))]
    seen = scene(rows, FILE, [])
    assert seen is not None
    assert len(seen.others) == 400
    assert "more rows off the front are not drawn." in seen.outside


def test_labels_do_not_overlap_and_lie_in_the_picture() -> None:
    rows = records(
        row(BASE), made(62, 50, 135), made(66, 50, 133), made(90, 50, 76), made(700, 50, 41)
    )
    seen = scene(rows, FILE, [])
    assert seen is not None
    assert len(seen.named) == 5
    pixels, size = Pixels(seen, (700, 350)), (700.0, 350.0)
    points = [pixels.point(r) for r in seen.named]
    lines = [placing.lines_of(seen.name(r)) for r in seen.named]
    places = placing.placed(points, lines, size, pixels.obstacles())
    boxes = [
        placing.box(p, label, line) for p, label, line in zip(points, places, lines, strict=True)
    ]
    for index, (left, top, right, bottom) in enumerate(boxes):
        assert left >= 0
        assert top >= 0
        assert right <= size[0]
        assert bottom <= size[1]
        for x, t, r, b in boxes[:index]:
            assert min(right, r) <= max(left, x) or min(bottom, b) <= max(top, t)


def test_a_label_breaks_between_stages_and_keeps_an_option_with_its_value() -> None:
    assert placing.lines_of("distill --student-width 0.5 --temperature 2 --epochs 6 qat") == [
        "distill --student-width 0.5", "--temperature 2 --epochs 6", "qat",
    ]  # fmt: skip
    assert placing.lines_of("baseline") == ["baseline"]
    assert placing.lines_of(" ") == [""]
    assert np.shape(placing.lines_of("prune --pattern 2:4 encode")) == (2,)


def test_rows_without_a_value_on_an_axis_are_counted() -> None:
    coded = [
        made(60 + i, 50, 300 - i, coded_bytes={"xz": 70_000 + i, "entropy": 60_000}) for i in (0, 1)
    ]
    xz = next(a for a in front.AXES if a.field == "xz_bytes")
    seen = scene(records(row(BASE), *coded), xz, [])
    assert seen is not None
    assert seen.outside == "1 row has no value on this axis."
