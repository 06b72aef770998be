"""Text returned by `printable` moves no cursor, ends no line and hides nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.text import printable


@given(st.text(max_size=40))
def test_printable_text_stays_on_its_line_and_keeps_its_length(said: str) -> None:
    assert printable(said).isprintable()
    assert len(printable(said)) == len(said)
    assert all(a in (b, " ") for a, b in zip(printable(said), said, strict=True))


@pytest.mark.parametrize("said", ["prune --sparsity 0.5", "Käfer, 中文, \N{PLUS-MINUS SIGN}", ""])
def test_printable_text_is_unchanged(said: str) -> None:
    assert printable(said) == said


@pytest.mark.parametrize(
    "c", ["\x1b", "\x9b", "\x07", "\r", "\n", "\t", "\x7f", "\u202e", "\udc80"]
)
def test_control_characters_direction_marks_and_surrogates_are_replaced(c: str) -> None:
    assert printable(f"a{c}b") == "a b"
