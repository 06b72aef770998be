"""Write rows as comparison.md, .html and .csv, and a picture; the same rows give the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from compress.files import write_bytes
from compress.report import escape, front_plot, tables
from compress.report.behaviour import Readers, behaviours
from compress.report.compare import figures_beside
from compress.report.comparison_page import comparison_page
from compress.report.html import page
from compress.report.references import other_networks, read_references
from compress.rows.latency import LatencyRow
from compress.rows.result import Result

if TYPE_CHECKING:
    import pandas as pd


NO_READERS: Readers = MappingProxyType({})
PAGES = ("comparison.md", "comparison.html", "comparison.csv")
PICTURES = ("accuracy_against_bytes.png", "accuracy_against_bytes.svg")
MARK = "<!-- made of rows and figures with digest {} -->"


def paths(folder: Path) -> list[Path]:
    """The files that `write_report` writes."""
    return [folder / name for name in (*PAGES, *PICTURES)]


def are_current(
    rows: Sequence[Result],
    references: Sequence[Path],
    folder: Path,
    readers: Readers = NO_READERS,
    times: Sequence[LatencyRow] = (),
) -> bool:
    """True if the files in `folder` were made from exactly these rows, published figures, predictions and times."""
    if not all(path.is_file() for path in paths(folder)):
        return False
    return _mark(rows, references, readers, times) in paths(folder)[0].read_text(
        encoding="utf-8", errors="replace"
    )


def _mark(
    rows: Sequence[Result],
    references: Sequence[Path],
    readers: Readers,
    times: Sequence[LatencyRow],
) -> str:
    lines = [row.to_json() for row in rows] + [row.to_json() for row in times]
    sha = hashlib.sha256("\n".join(lines).encode())
    sha.update("".join(sorted(readers)).encode())
    for path in references:
        sha.update(path.read_bytes())
    return MARK.format(sha.hexdigest())


def write_report(
    rows: Sequence[Result],
    references: Sequence[Path],
    folder: Path,
    readers: Readers = NO_READERS,
    times: Sequence[LatencyRow] = (),
) -> list[Path]:
    """Write comparison.md, comparison.html, comparison.csv and accuracy_against_bytes.{png,svg} into `folder`.

    Classes, confusions and calibration are reported for the rows whose predictions can be read. Each file is replaced
    as a whole. If there are no rows, a ValueError says what to run.
    """
    published = read_references(references)
    data = {row.data for row in rows}
    figures = figures_beside(rows, published)
    figures += [f for f in other_networks(published) if f.data in data]
    found = behaviours(rows, readers)
    table = tables.compared(rows, figures, found, times)
    markdown = f"{comparison_page(table, figures)}\n{_mark(rows, references, readers, times)}\n"
    html = page.page(tables.records(table), rows, figures, found)
    front_plot.accuracy_against_bytes(table, figures, folder)
    write_bytes(folder / "comparison.csv", csv(table))
    write_bytes(folder / "comparison.html", html.encode())
    write_bytes(folder / "comparison.md", markdown.encode())  # last: its mark is for all files
    return paths(folder)


def csv(table: pd.DataFrame) -> bytes:
    """A comparison as CSV, UTF-8, one line for each model.

    Text that a spreadsheet would take for a formula begins with an apostrophe, the mark of text in spreadsheets.
    Twelve digits are more than the precision of any number here, and few enough that all libraries give the same.
    """
    texts = [name for name, kind in tables.FIELDS.items() if kind == "string"]
    shown = table.assign(
        **{n: table[n].map(escape.for_spreadsheet, na_action="ignore") for n in texts}
    )
    return str(shown.to_csv(index=False, lineterminator="\n", float_format="%.12g")).encode()
