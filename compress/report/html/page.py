"""The page: for each section an answer, a picture and a table, then details of the models on the front."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from compress.report import columns, front, text
from compress.report.behaviour import Behaviour
from compress.report.compare import Record
from compress.report.comparison_page import by_section, notes, published_beside
from compress.report.html import models, picture
from compress.report.references import PublishedFigure, judgements, of_others, other_networks
from compress.report.scene import scene
from compress.rows.result import Result
from compress.text import printable

# With more rows, the page would be slow to open and larger than 4 MB; comparison.csv has all rows.
MOST_ROWS = 500
MOST_SECTIONS = 20
Found = Mapping[tuple[str, str], Behaviour]  # see `behaviour.behaviours`


def page(
    records: Sequence[Record],
    rows: Sequence[Result],
    figures: Sequence[PublishedFigure],
    found: Found,
) -> str:
    """The page on a comparison.

    Args:
      records: as `tables.compared_records` gives them, including references.
      rows: the rows that the records were made from.
    """
    measured = [r for r in records if r["kind"] != "reference"]
    parts = by_section(measured)
    kept = [_kept(part, len(measured), figures) for part in parts[:MOST_SECTIONS]]
    anchors = _anchors([r for part in kept for r in part])
    by_run = {(row.run, row.splits[row.measured_on]): row for row in rows}
    published = [r for r in records if r["kind"] == "reference"]
    sections = [
        _section(index, part, shown, figures, anchors, by_run, found, published)
        for index, (part, shown) in enumerate(zip(parts, kept, strict=False), 1)
    ]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.finalize = lambda v: v if isinstance(v, Markup) else printable(v)
    css, script, vega = _text("page.css"), _text("page.js"), picture.libraries()
    return environment.from_string(_text("page.html.j2")).render(
        policy=_policy(css, script, vega),
        css=Markup(css),
        script=Markup(script),
        vega=Markup(vega),
        data=_for_script({"frame": picture.frame(), "sections": [s["choices"] for s in sections]}),
        rows=len(measured),
        sections=sections,
        left_out=[_heading(part[0]) for part in parts[MOST_SECTIONS:]],
        judgements=judgements(figures),
        sources=dict.fromkeys(
            f"{f.name}: {f.source}" for f in figures if f not in other_networks(figures)
        ),
        others=of_others(figures),
        columns=columns.ALL,
        free_within=text.points(front.FREE_WITHIN),
    )


def _section(
    index: int,
    part: Sequence[Record],
    shown: Sequence[Record],
    figures: Sequence[PublishedFigure],
    anchors: dict[int, str],
    by_run: Mapping[tuple[str, str], Result],
    found: Found,
    published: Sequence[Record],
) -> dict[str, Any]:
    axis = front.main_axis(part)
    choices = picture.choices(part, figures, anchors)
    seen = scene(part, axis, figures)
    lines = [*published_beside(published, part), *shown]
    kept = [by_run[r["run"], r["split_digest"]] for r in part]
    return {
        "id": index,
        "heading": _heading(part[0]),
        "split": part[0]["split"],
        "choices": choices,
        "first": next(c for c in choices if c["field"] == axis.field),
        "columns": _columns(lines),
        "lines": [_line(r, anchors, seen.best if seen else None) for r in lines],
        "rows": len(part),
        "shown": len(shown),
        "notes": notes(part) if len(part) <= MOST_ROWS else [],
        "models": [
            models.about(r, by_run[r["run"], r["split_digest"]], kept, found, anchors[id(r)])
            for r in (seen.named if seen else [])
        ],
        "runs": [_run(r, by_run[r["run"], r["split_digest"]], anchors[id(r)]) for r in shown],
    }


def _heading(r: Record) -> str:
    more = "" if r["trained_on"] == "train" else f", trained on {r['trained_on']}"
    foreign = f"{r['foreign_model']} on " if r["foreign_model"] else ""
    return f"{foreign}{r['data']}: {text.count(r['images'])} {r['split']} images{more}"


def _kept(part: Sequence[Record], of: int, figures: Sequence[PublishedFigure]) -> list[Record]:
    """The rows of a section that are on the page: all, or as many as the page can hold.

    Rows that a picture names come first, the first picture before the others. Then come other rows of a front, then
    baselines, then the most accurate.
    """
    most = max(20, MOST_ROWS * len(part) // of)
    if len(part) <= most:
        return list(part)
    first = front.main_axis(part)
    axes = sorted(front.axes_of(part), key=lambda axis: axis is not first)
    scenes = [seen for axis in axes if (seen := scene(part, axis, figures))]
    wanted = [r for seen in scenes for r in seen.named]
    wanted += [r for seen in scenes for r in seen.front]
    wanted += sorted(part, key=lambda r: (r["kind"] != "baseline", -r["top1"]))
    chosen = set(list(dict.fromkeys(map(id, wanted)))[:most])
    return [r for r in part if id(r) in chosen]


def _anchors(shown: Sequence[Record]) -> dict[int, str]:
    """Id of a record -> the anchor of its run on the page. One run may be measured on two splits."""
    taken: dict[str, int] = {}
    anchors = {}
    for r in shown:
        run = text.short(r["run"])
        taken[run] = taken.get(run, 0) + 1
        anchors[id(r)] = f"run-{run}" + (f"-{taken[run]}" if taken[run] > 1 else "")
    return anchors


def _columns(lines: Sequence[Record]) -> list[dict[str, Any]]:
    """The brief columns, and all others with a value in a row of the section; these are shown on demand."""
    few, rest = columns.BRIEF, columns.MORE
    told = [c for c in (*few, *rest) if c in few or any(c.cell(r) for r in lines)]
    return [{"column": c, "more": c not in few} for c in told]


def _line(r: Record, anchors: dict[int, str], best: Record | None) -> dict[str, Any]:
    return {"record": r, "to": anchors.get(id(r)), "best": r is best}


def _run(r: Record, row: Result, anchor: str) -> dict[str, Any]:
    """Everything needed to repeat a row."""
    told = {
        "Run": row.run, "Seed": row.seed, "Made": row.time, "Commit": row.commit, "Machine": row.machine,
        "Versions": ", ".join(f"{k} {v}" for k, v in sorted(row.versions.items())),
        "Task": row.task, "Model that came in": row.model, "Its file": row.model_file,
        "Measured file": row.tflite_digest,
        "Data": f"{row.data}; " + ", ".join(f"{k} {v[:12]}" for k, v in sorted(row.splits.items())),
        "Stages": json.dumps(row.pipeline, sort_keys=True) if row.pipeline else None,
        "Decided": json.dumps(row.recorded, sort_keys=True) if row.recorded else None,
        "Notes": " ".join(row.notes) or None,
    }  # fmt: skip
    return {
        "anchor": anchor,
        "name": columns.name(r),
        "seed": row.seed,
        "command": row.command,
        "told": {k: v for k, v in told.items() if v is not None},
    }


def _for_script(value: object) -> Markup:
    """JSON that is safe inside a script element, whatever texts it holds."""
    made = json.dumps(value, sort_keys=True, allow_nan=False)  # ASCII only: U+2028 is escaped too
    escapes = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
    for sign, escape in escapes.items():
        made = made.replace(sign, escape)
    return Markup(made)


def _policy(css: str, *scripts: str) -> str:
    """The content security policy: the page runs only these scripts, uses only this style, and loads nothing."""
    allowed = " ".join(f"'sha256-{_sha(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'sha256-{_sha(css)}'; base-uri 'none'; "
        "form-action 'none'"
    )


def _sha(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _text(name: str) -> str:
    return files("compress.report.html").joinpath(name).read_text(encoding="utf-8")
