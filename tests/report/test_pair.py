"""Comparison of two models measured on the same images."""

from __future__ import annotations

import numpy as np
import pytest

from compress.measurement.predictions import Predictions
from compress.report.pair import Side, held_against
from compress.report.pair_page import Flip, flips, pair_page
from compress.rows.result import Result
from support.report_rows import bits, digest, flipped, pruned, row

BASE = bits(9000)
LABELS = np.arange(10_000) % 4


def side(name: str, of: Result, labels: np.ndarray | None = None) -> Side:
    return Side(name, of, of.splits["test"], labels, ["ant", "bee", "cat"])


def test_a_significant_difference_is_reported_with_interval_and_share_of_bytes() -> None:
    small = pruned(flipped(BASE, 400, 100), file_bytes=120_000, gzip_bytes=110_000)
    record = held_against(side("small", small), side("large", row(BASE)))
    assert (record["only_a_right"], record["only_b_right"]) == (100, 400)
    assert record["verdict"] == (
        "small is less accurate than large, by -3.00 (-3.43 to -2.55) points, at 25.0 % of its bytes."
    )
    turned = held_against(side("large", row(BASE)), side("small", small))
    assert turned["verdict"].startswith("large is more accurate than small, by +3.00 (+2.55 to")
    assert turned["difference"] == -record["difference"]


def test_an_insignificant_difference_is_reported_with_the_equivalence_margin() -> None:
    record = held_against(side("a", pruned(flipped(BASE, 60, 50))), side("b", row(BASE)))
    assert record["verdict"] == (
        "a is not distinguishable from b (-0.10 (-0.31 to +0.12) points) and the same within 0.28 points, "
        "at 100.0 % of its bytes."
    )


def test_flips_are_counted_per_class_if_the_labels_are_known() -> None:
    a, b = row(BASE), pruned(flipped(BASE, 400, 100))
    found = held_against(side("a", a), side("b", b, LABELS))["per_class"]
    assert [f["class"] for f in found] == ["ant", "bee", "cat", "class 3"]
    assert sum(f["only_a_right"] for f in found) == 400
    assert sum(f["difference"] * f["images"] for f in found) == pytest.approx(300)
    assert held_against(side("a", a), side("b", b))["per_class"] is None


def test_models_measured_on_other_images_are_not_compared() -> None:
    other = row(bits(9000), splits={"train": digest("train"), "test": digest("other")})
    with pytest.raises(ValueError, match="only models measured on the same images are compared"):
        held_against(side("a", row(BASE)), side("b", other))


# The page


def said(classes: list[int], probabilities: list[float]) -> Predictions:
    answers = np.array(classes, "<u1"), np.array(probabilities, "<f2")
    return Predictions(np.array([0, 0, 1, 2], "<u1"), *answers)


def test_flips_are_ordered_by_confidence_in_both_directions() -> None:
    images = np.zeros((4, 3, 3, 3), np.uint8)
    first, second = said([0, 0, 1, 1], [0.5] * 4), said([1, 2, 1, 2], [0.625, 0.875, 0.5, 0.75])
    names = ["ant", "bee", "cat"]
    won = flips(images, first, second, names, won=True)
    assert [(f.label, f.first, f.second) for f in won] == [("cat", "bee 50 %", "cat 75 %")]
    lost = flips(images, first, second, names, won=False)
    assert [f.second for f in lost] == ["cat 88 %", "bee 62 %"]


def test_the_page_is_self_contained_and_escapes_text_of_rows() -> None:
    hostile = "<script>alert(1)</script>"
    record = held_against(side(hostile, pruned(BASE)), side("b", row(BASE), LABELS))
    text = pair_page(record, [("Sheet", [Flip("AAAA", hostile, hostile, "b")])])
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 4
    assert 'src="data:image/png;base64,AAAA"' in text
    assert "http" not in text
    assert "<td>bee</td>" in text
