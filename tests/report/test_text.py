"""Text: numbers for a reader, and untrusted text for Markdown and pictures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from compress.report import text
from compress.significance import SIGNIFICANCE
from compress.text import printable


@given(st.text(max_size=40))
def test_markdown_shows_any_text_as_it_is_in_one_cell(said: str) -> None:
    table = f"| a | b |\n| --- | --- |\n| {text.markdown(said)} | end |\n"
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(table)
    cells = [t for t, before in zip(tokens[1:], tokens, strict=False) if before.type == "td_open"]
    assert [c.content for c in cells][1:] == ["end"]
    children = cells[0].children or []
    assert {c.type for c in children} <= {"text", "text_special"}
    assert "".join(c.content for c in children).strip() == printable(said).strip()


def test_names_of_stages_stay_readable_in_markdown() -> None:
    assert text.markdown("prune_filters --keep 0.5, 50 %") == "prune_filters --keep 0.5, 50 %"


@given(st.text(max_size=80), st.integers(5, 60))
def test_drawn_text_is_ascii_and_no_longer_than_asked(said: str, longest: int) -> None:
    shown = text.drawn(said, longest)
    assert shown.isascii()
    assert len(shown) <= longest


@pytest.mark.parametrize(
    "show", [text.percent, text.points, text.count, text.kilobytes, text.p_value]
)
def test_what_is_missing_shows_as_nothing(show: object) -> None:
    assert callable(show)
    assert show(None) == ""


def test_a_rounded_zero_has_no_minus_sign() -> None:
    assert text.points(-0.00001) == "0.00"
    assert text.points(-0.00001, "+") == "+0.00"
    assert text.with_interval(None, None, None) == ""


@given(st.floats(0, 1))
def test_a_p_is_shown_on_its_side_of_significance(p: float) -> None:
    shown = float(text.p_value(p))
    assert shown == pytest.approx(p, rel=0.06)
    assert (shown < SIGNIFICANCE) == (p < SIGNIFICANCE)


def test_a_p_just_below_significance_is_not_rounded_onto_it() -> None:
    assert text.p_value(0.04999) == "0.04999"
    assert text.p_value(0.05) == "0.05"
    assert text.p_value(2.14e-49) == "2.1e-49"
