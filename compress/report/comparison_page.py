"""The page on a comparison, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from compress.report import columns, escape, front, seeds, tables, text
from compress.report.compare import SECTION, Record
from compress.report.references import PublishedFigure, judgements, of_others, other_networks

if TYPE_CHECKING:
    import pandas as pd


def comparison_page(table: pd.DataFrame, figures: Sequence[PublishedFigure]) -> str:
    """The page on a comparison, in Markdown."""
    records = tables.records(table)
    measured = [r for r in records if r["kind"] != "reference"]
    published = [r for r in records if r["kind"] == "reference"]
    others = other_networks(figures)
    held = [f for f in figures if f not in others]
    names = dict.fromkeys(f.name for f in held)
    return _template().render(
        rows=len(measured),
        references=[{"name": name, "source": _source(name, held)} for name in names],
        others=of_others(others),
        published_data=", ".join(dict.fromkeys(f.data for f in held)),
        judgements=judgements(figures),
        sections=[_section(published, rows) for rows in by_section(measured)],
        free_within=text.points(front.FREE_WITHIN),
        columns=columns.BRIEF,
    )


def by_section(measured: Sequence[Record]) -> list[list[Record]]:
    """Records in groups with the same values of `SECTION`."""
    parts: dict[tuple[str, ...], list[Record]] = {}
    for r in measured:
        parts.setdefault(tuple(r[k] for k in SECTION), []).append(r)
    return list(parts.values())


def published_beside(references: Sequence[Record], rows: Sequence[Record]) -> list[Record]:
    """The published accuracies to list above the rows of a section that are compared with them.

    Rows on test images have all those on the same data, rows on validation images only those on validation images.
    """
    data, split = rows[0]["data"], rows[0]["split"]
    held = any(r[f"from_published_{s}"] is not None for r in rows for s in ("test", "validation"))
    return [r for r in references if held and r["data"] == data and split in ("test", r["split"])]


def markdown_table(frame: pd.DataFrame) -> Markup:
    """A table of strings in Markdown; no text in a cell can change the shape of the table."""
    lines = [[escape.for_markdown(c) for c in frame.columns], ["---"] * len(frame.columns)]
    for record in frame.to_dict("records"):
        lines.append([escape.for_markdown(str(value)) for value in record.values()])
    return Markup("\n".join("| " + " | ".join(cells) + " |" for cells in lines))


def _template() -> Any:
    """The template of the page. Everything it prints is escaped for Markdown, except `Markup` made in this file."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        finalize=lambda v: v if isinstance(v, Markup) else Markup(escape.for_markdown(v)),
    )
    environment.filters["trusted"] = Markup
    source = files("compress.report").joinpath("comparison.md.j2").read_text(encoding="utf-8")
    return environment.from_string(source)


def _source(name: str, figures: Sequence[PublishedFigure]) -> str:
    return "; ".join(dict.fromkeys(f.source for f in figures if f.name == name))


def _section(references: Sequence[Record], rows: Sequence[Record]) -> dict[str, Any]:
    first = rows[0]
    same_data = [r for r in references if r["data"] == first["data"]]
    published = published_beside(same_data, rows)
    return {
        **{key: first[key] for key in SECTION},
        "images": text.count(first["images"]),
        "held_against": bool(published),
        "other_network": bool(same_data) and not published,
        "answer": front.plain(front.answer(rows, front.main_axis(rows))),
        "table": markdown_table(tables.shown([*published, *rows], columns.BRIEF)),
        "notes": notes(rows),
    }


def notes(rows: Sequence[Record]) -> list[str]:
    """Sentences on the rows of a section: spread over seeds, controls, timing machines, and notes of the rows."""
    said = [seeds.sentence(each) for each in seeds.spread(rows)] + seeds.verdicts(rows)
    said += [
        f"{columns.name(r)}, seed {r['seed']}: {r['controls']}." for r in rows if r["controls"]
    ]
    said += [
        f"Times against the baseline's are those of {each}."
        for each in dict.fromkeys(r["latency_on"] for r in rows if r["latency_on"])
    ]
    return said + [f"{text.short(r['run'])}: {r['notes']}" for r in rows if r["notes"]]
