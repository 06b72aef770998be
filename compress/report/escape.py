"""Text of rows escaped for Markdown, for spreadsheets and for pictures, so that none of it is markup or a formula."""

from __future__ import annotations

from compress.text import printable


def for_markdown(text: object) -> str:
    """Text that shows as it is in any Markdown, in a table cell or out of it.

    Signs that mean something to Markdown or HTML become numeric references, which may never stand
    for structure (CommonMark, section 2.5). What does not print, line ends too, becomes a space.

    >>> for_markdown("a|b\\n`c`"), for_markdown("prune_filters --keep 0.5")
    ('a&#124;b &#96;c&#96;', 'prune_filters --keep 0.5')
    """
    printed = printable(text)
    shown = []
    for index, c in enumerate(printed):
        # Between two letters an underscore starts no emphasis.
        word = (
            c == "_" and printed[index - 1 : index].isalnum() and printed[index + 1 :][:1].isalnum()
        )
        shown.append(f"&#{ord(c)};" if c in "\\`*_[]<>|&~$!#" and not word else c)
    return "".join(shown)


def for_spreadsheet(text: object) -> str:
    """Text for a cell of a spreadsheet, which takes one that begins with one of these signs for a formula.

    >>> for_spreadsheet("=1+1"), for_spreadsheet("prune --sparsity 0.5")
    ("'=1+1", 'prune --sparsity 0.5')
    """
    printed = printable(text)
    formula = printed.lstrip().startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20"))
    return f"'{printed}" if formula else printed


def for_picture(text: str, longest: int = 60) -> str:
    """Text for a picture: signs its font may lack become "?", and the middle of a long one becomes "...".

    >>> for_picture("prune \\u4e2d"), for_picture("abcdefgh", 7)
    ('prune ?', 'ab...gh')
    """
    known = "".join(c if " " <= c <= "~" else "?" for c in text)
    half = (longest - 3) // 2
    return known if len(known) <= longest else f"{known[:half]}...{known[-half:]}"
