"""Escape text of rows for Markdown, spreadsheets and pictures, so that it never acts as markup or a formula."""

from __future__ import annotations

from compress.text import printable


def for_markdown(text: object) -> str:
    """The text, escaped so that Markdown shows it unchanged, inside a table cell or outside.

    Characters with a meaning in Markdown or HTML become numeric references, which are never
    structure (CommonMark, section 2.5). Unprintable characters, line ends too, become spaces.

    >>> for_markdown("a|b\\n`c`"), for_markdown("prune_filters --keep 0.5")
    ('a&#124;b &#96;c&#96;', 'prune_filters --keep 0.5')
    """
    printed = printable(text)
    shown = []
    for index, c in enumerate(printed):
        # An underscore between two letters or digits starts no emphasis.
        word = (
            c == "_" and printed[index - 1 : index].isalnum() and printed[index + 1 :][:1].isalnum()
        )
        shown.append(f"&#{ord(c)};" if c in "\\`*_[]<>|&~$!#" and not word else c)
    return "".join(shown)


def for_spreadsheet(text: object) -> str:
    """The text for a spreadsheet cell, after an apostrophe if a spreadsheet would take it for a formula.

    >>> for_spreadsheet("=1+1"), for_spreadsheet("prune --sparsity 0.5")
    ("'=1+1", 'prune --sparsity 0.5')
    """
    printed = printable(text)
    formula = printed.lstrip().startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20"))
    return f"'{printed}" if formula else printed


def for_picture(text: str, longest: int = 60) -> str:
    """The text for a picture: characters that its font may lack become "?", the middle of a long text "...".

    >>> for_picture("prune \\u4e2d"), for_picture("abcdefgh", 7)
    ('prune ?', 'ab...gh')
    """
    known = "".join(c if " " <= c <= "~" else "?" for c in text)
    half = (longest - 3) // 2
    return known if len(known) <= longest else f"{known[:half]}...{known[-half:]}"
