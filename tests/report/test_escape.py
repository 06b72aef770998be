"""Escaping untrusted text for Markdown and pictures."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from compress.report import escape
from compress.text import printable


@given(st.text(max_size=40))
def test_markdown_shows_any_text_literally_in_one_cell(said: str) -> None:
    table = f"| a | b |\n| --- | --- |\n| {escape.for_markdown(said)} | end |\n"
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(table)
    cells = [t for t, before in zip(tokens[1:], tokens, strict=False) if before.type == "td_open"]
    assert [c.content for c in cells][1:] == ["end"]
    children = cells[0].children or []
    assert {c.type for c in children} <= {"text", "text_special"}
    assert "".join(c.content for c in children).strip() == printable(said).strip()


def test_names_of_stages_are_not_escaped_in_markdown() -> None:
    assert escape.for_markdown("prune_filters --keep 0.5, 50 %") == "prune_filters --keep 0.5, 50 %"


@given(st.text(max_size=80), st.integers(5, 60))
def test_text_for_pictures_is_ascii_and_within_the_length_limit(said: str, longest: int) -> None:
    shown = escape.for_picture(said, longest)
    assert shown.isascii()
    assert len(shown) <= longest
