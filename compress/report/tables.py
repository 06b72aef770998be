"""Comparisons as tables: at full precision, as readable strings, and in a few columns for a console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compress.report import columns, latency, text
from compress.report.behaviour import Behaviour
from compress.report.compare import (
    MEASURED,
    SECTION,
    Record,
    figures_beside,
    reference_records,
    row_records,
)
from compress.report.references import PublishedFigure, read_references
from compress.report.seeds import SPREAD_OVER, WHERE, spread
from compress.rows.latency import LatencyRow
from compress.rows.result import Result
from compress.text import printable

if TYPE_CHECKING:
    import pandas as pd

_TEXT, _WHOLE, _REAL = "string", "Int64", "Float64"
_PUBLISHED = [
    f"from_published_{s}{e}" for s in ("test", "validation") for e in ("", "_low", "_high")
]
# Column -> type, in the order of comparison.csv.
FIELDS = (
    dict.fromkeys(("kind", "label", "task", "data", "split", "trained_on"), _TEXT)
    | dict.fromkeys(("images", "seed"), _WHOLE)
    | dict.fromkeys(("run", "model", "foreign_model"), _TEXT)
    | dict.fromkeys(("top1", "top1_low", "top1_high"), _REAL)
    | dict.fromkeys(("difference", "difference_low", "difference_high", "p", "p_adjusted"), _REAL)
    | {"equivalence_margin": _REAL, "won": _WHOLE, "lost": _WHOLE}
    | {"remark": _TEXT, "controls": _TEXT}
    | {"ece": _REAL, "worst_class": _TEXT, "worst_class_change": _REAL, "confusion": _TEXT}
    | dict.fromkeys(_PUBLISHED, _REAL)
    | dict.fromkeys(("cross_entropy", "cross_entropy_difference"), _REAL)
    | dict.fromkeys(("params", "stored_params", "nonzero_params"), _WHOLE)
    | {"sparsity": _REAL, "macs": _WHOLE, "file_bytes": _WHOLE, "file_ratio": _REAL}
    | {"gzip_bytes": _WHOLE, "gzip_ratio": _REAL, "weight_types": _TEXT}
    | {"seconds": _REAL, "peak_memory_bytes": _WHOLE}
    | dict.fromkeys(("pipeline", "notes", "tflite_digest", "split_digest"), _TEXT)
    | dict.fromkeys(("commit", "time", "machine", "versions", "command"), _TEXT)
    | {"xz_bytes": _WHOLE, "entropy_bytes": _WHOLE}
    | {name: _TEXT if name == "latency_on" else _REAL for name in latency.FIELDS}
    # A field listed above keeps its place; any other measured field comes last.
    | {name: _WHOLE if number is int else _REAL for name, number in MEASURED.items()}
)
SPREAD_FIELDS = (
    dict.fromkeys((*WHERE, "label"), _TEXT)
    | {"n": _WHOLE, "seeds": _TEXT, "top1_low": _REAL, "top1_high": _REAL}
    | dict.fromkeys((f"{f}_{part}" for f in SPREAD_OVER for part in ("mean", "sd")), _REAL)
)


def comparison(rows: Sequence[Result], references: Sequence[Path]) -> pd.DataFrame:
    """Published models, then every row that counts, compared with its baseline, at full precision.

    Columns are `FIELDS`. Fractions are in [0, 1], differences in [-1, 1]; a value that does not apply is missing.
    """
    return compared(rows, read_references(references))


def compared(
    rows: Sequence[Result],
    figures: Sequence[PublishedFigure],
    found: Mapping[tuple[str, str], Behaviour] | None = None,
    times: Sequence[LatencyRow] = (),
) -> pd.DataFrame:
    """The table of `comparison`. If there are no rows, a ValueError says what to run.

    Args:
      found: as `behaviour.behaviours` gives it.
      times: latency comparisons of files; files that are not among the rows do not count.
    """
    if not rows:
        raise ValueError(
            "there are no rows to report yet: `compress run prune --sparsity 0.5` makes some."
        )
    lines = compared_records(rows, figures)
    for line in lines:
        if found and (line["run"], line["split_digest"]) in found:
            line |= found[line["run"], line["split_digest"]].fields()
    latency.put(lines, times)
    return _frame(lines, FIELDS)


def compared_records(rows: Sequence[Result], figures: Sequence[PublishedFigure]) -> list[Record]:
    """The records of published models and rows, without pandas; None where a value is missing."""
    lines = [*reference_records(figures_beside(rows, figures)), *row_records(rows, figures)]
    return [{**dict.fromkeys(FIELDS), **line} for line in lines]


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Mean, standard deviation and n of pipelines run with several seeds; columns are `SPREAD_FIELDS`."""
    return _frame(spread([r for r in records(table) if r["kind"] != "reference"]), SPREAD_FIELDS)


def records(table: pd.DataFrame) -> list[Record]:
    """The rows of a table as dicts, None where a value is missing."""
    plain = table.astype(object)
    return [
        {str(k): v for k, v in r.items()}
        for r in plain.where(table.notna(), None).to_dict("records")
    ]


def display(table: pd.DataFrame, chosen: Sequence[columns.Column] = columns.ALL) -> pd.DataFrame:
    """A comparison as strings under readable headings; a value that does not apply is an empty string."""
    return shown(records(table), chosen)


def shown(lines: Sequence[Record], chosen: Sequence[columns.Column]) -> pd.DataFrame:
    """Records as a table of strings; see `display`."""
    headings = {c.heading: _TEXT for c in chosen}
    return _frame([{c.heading: c.cell(r) for c in chosen} for r in lines], headings)


def compact(lines: Sequence[Record]) -> list[dict[str, str]]:
    """The lines of a comparison in six columns of strings, narrow enough for a console.

    A line with a name of data and no numbers is the heading of the lines below it; only those are comparable.
    """
    told: list[dict[str, str]] = []
    head = None
    for r in lines:
        published = r["kind"] == "reference"
        images = f"{r['images']:,} images"
        measured = r["data"] if r["split"] == "test" else f"{r['data']} {r['split']}"
        own = f"published, {r['data']}" if published else f"{measured}, {images}"
        own = f"{r['foreign_model']}: {own}" if r["foreign_model"] else own
        if r["trained_on"] not in (None, "train"):
            own += f", trained on {r['trained_on']}"
        section = () if published else tuple(r[field] for field in SECTION)
        if head != (head := (own, section)):
            told.append(dict.fromkeys(_COMPACT, "") | {"model": printable(own)})
        label = f"{r['split']}, {images}" if published else columns.name(r)
        cells = (f"  {printable(label)}", *_brief(r))
        told.append(dict(zip(_COMPACT, cells, strict=True)))
    return told


_COMPACT = ("model", "top-1, %", "from baseline", "sparsity", "file", "gzip")


def _brief(r: Record) -> tuple[str, ...]:
    """The cells that `compact` shows after the name of a record."""
    top1 = f"{text.points(r['top1'])} ({100 * r['top1_low']:.1f}-{100 * r['top1_high']:.1f})"
    if r["kind"] != "compressed":
        difference = ""
    elif r["difference"] is None:
        difference = "no baseline"
    elif columns.distinguishable(r):
        ends = [text.end(r[f"difference_{e}"], "+", digits=1) for e in ("low", "high")]
        difference = f"{text.points(r['difference'], '+')} ({' to '.join(ends)})"
    else:
        difference = "not distinguishable"
    sizes = (text.kilobytes(r["file_bytes"]), text.kilobytes(r["gzip_bytes"]))
    return top1, difference, text.percent(r["sparsity"]), *sizes


def _frame(lines: Sequence[Record], types: Mapping[str, str]) -> pd.DataFrame:
    import pandas as pd

    # Whole numbers beside missing values would otherwise become floats, which hold no number above 2**53 exactly.
    exact = pd.DataFrame(list(lines), columns=list(types), dtype=object)
    return exact.astype(dict(types))
