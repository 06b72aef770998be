"""Rows as a table on the terminal, and as pages beside the file of rows."""

from __future__ import annotations

from collections.abc import Sequence

from compress.api import write_pages
from compress.cli import console
from compress.report import compare, references, tables
from compress.rows.result import Result
from compress.runs.options import RunOptions


def show(rows: Sequence[Result], options: RunOptions) -> None:
    """Print rows beside the published figures, and write the pages of all rows. As JSON, print only the rows."""
    results = options.results
    written = write_pages(results, results.parent, unless_current=True)
    if options.as_json:
        console.say_json([r.record() for r in rows])
        return
    figures = references.read_references(options.task.references())
    figures = compare.figures_beside(rows, figures)
    console.print_records(tables.compact(tables.compared_records(rows, figures)))
    for sentence in references.judgements(figures):
        console.say("", sentence)
    if figures and rows[0].data not in {f.data for f in figures}:
        console.say(
            "", f"Published figures are not about {rows[0].data}; --data names the full set."
        )
    console.say("", f"Rows: {results}. Report: {written[0]}. Run folders: {options.out}.")
