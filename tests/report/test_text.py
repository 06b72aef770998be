"""Formatting numbers as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.report import text
from compress.statistics.significance import SIGNIFICANCE


@pytest.mark.parametrize(
    "show", [text.percent, text.points, text.count, text.kilobytes, text.p_value]
)
def test_a_missing_value_is_shown_as_empty_text(show: object) -> None:
    assert callable(show)
    assert show(None) == ""


def test_a_rounded_zero_has_no_minus_sign() -> None:
    assert text.points(-0.00001) == "0.00"
    assert text.points(-0.00001, "+") == "+0.00"
    assert text.with_interval(None, None, None) == ""


@given(st.floats(0, 1))
def test_a_rounded_p_stays_on_its_side_of_the_significance_level(p: float) -> None:
    shown = float(text.p_value(p))
    assert shown == pytest.approx(p, rel=0.06)
    assert (shown < SIGNIFICANCE) == (p < SIGNIFICANCE)


def test_a_p_just_below_the_significance_level_is_not_rounded_up_to_it() -> None:
    assert text.p_value(0.04999) == "0.04999"
    assert text.p_value(0.05) == "0.05"
    assert text.p_value(2.14e-49) == "2.1e-49"


def test_an_end_of_an_interval_is_not_rounded_to_zero() -> None:
    """A rounded end of 0 would contradict a verdict that says the interval excludes 0."""
    assert text.with_interval(-0.004, -0.008, -0.00003, "+") == "-0.40 (-0.80 to -0.003)"
    assert text.end(0.0004, "+", digits=1) == "+0.04"
    assert text.end(0.0, "+") == "+0.00"
