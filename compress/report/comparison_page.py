"""The page on a comparison, in Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from compress.report import columns, escape, seeds, tables, text
from compress.report.compare import SECTION, Record
from compress.report.references import PublishedFigure, judgements
from compress.significance import wilson_interval

if TYPE_CHECKING:
    import pandas as pd


def comparison_page(table: pd.DataFrame, figures: Sequence[PublishedFigure]) -> str:
    """The page on a comparison, in Markdown."""
    measured = [r for r in tables.records(table) if r["kind"] != "reference"]
    keys = dict.fromkeys(tuple(r[k] for k in SECTION) for r in measured)
    machines = list(dict.fromkeys(r["machine"] for r in measured))
    versions = list(dict.fromkeys(r["versions"] for r in measured))
    return _template().render(
        rows=len(measured),
        references=[_reference(name, figures) for name in dict.fromkeys(f.name for f in figures)],
        published_data=", ".join(dict.fromkeys(f.data for f in figures)),
        judgements=judgements(figures),
        sections=[_section(table, key) for key in keys],
        columns=columns.ALL if figures else _without_published(columns.ALL),
        runs=_runs(measured, machines, versions),
        machines=machines,
        versions=[", ".join(f"{k} {v}" for k, v in json.loads(t).items()) for t in versions],
        notes=[(text.short(r["run"]), r["notes"]) for r in measured if r["notes"]],
    )


def markdown_table(frame: pd.DataFrame) -> Markup:
    """A table of strings in Markdown; whatever the cells hold, it stays a table of that shape."""
    lines = [[escape.for_markdown(c) for c in frame.columns], ["---"] * len(frame.columns)]
    for record in frame.to_dict("records"):
        lines.append([_cell(str(heading), str(value)) for heading, value in record.items()])
    return Markup("\n".join("| " + " | ".join(cells) + " |" for cells in lines))


def _cell(heading: str, value: str) -> str:
    if heading == columns.RUN.heading and re.fullmatch("[0-9a-f]{12}", value):
        return f"[{value}](#run-{value})"
    return escape.for_markdown(value)


def _template() -> Any:
    """The page's template. Everything it prints is escaped for Markdown unless made by this file."""
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


def _reference(name: str, figures: Sequence[PublishedFigure]) -> dict[str, Any]:
    own = [f for f in figures if f.name == name]
    return {
        "name": name,
        "source": "; ".join(dict.fromkeys(f.source for f in own)),
        "table": _table(
            {
                "Quantity": f.quantity.replace("_", " "),
                "As published": f.as_published,
                "Split": f.split,
                "Images": text.count(f.images),
                "95 % interval, %": _interval(f),
            }
            for f in own
        ),
    }


def _interval(figure: PublishedFigure) -> str:
    if figure.quantity != "accuracy":
        return text.MISSING
    low, high = wilson_interval(figure.successes, figure.images or 0)
    return f"{text.points(low)} to {text.points(high)}"


def _section(table: pd.DataFrame, key: tuple[str, ...]) -> dict[str, Any]:
    task, data, split, digest, trained_on, foreign = key
    same_data = table[(table.kind == "reference") & (table.data == data)]
    measured = table[table.kind != "reference"]
    part = measured[(measured[list(SECTION)] == list(key)).all(axis=1)]
    published = same_data if _is_held_against_published(part) else same_data[:0]
    if split != "test":
        published = published[published.split == split]
    shown: Sequence[columns.Column] = columns.ACCURACY
    if published.empty:
        shown = _without_published(shown)
    elif split != "test":
        shown = [c for c in shown if c is not columns.PUBLISHED_TEST]
    if not part.controls.notna().any():
        shown = [c for c in shown if c is not columns.CONTROLS]
    over_seeds = tables.display_over_seeds(tables.over_seeds(part))
    return {
        "task": task,
        "data": data,
        "split": split,
        "digest": text.short(digest),
        "images": text.count(part.images.iloc[0]),
        "trained_on": trained_on,
        "foreign_model": foreign,
        "held_against": not published.empty,
        "other_network": published.empty and not same_data.empty,
        "brief": markdown_table(_joined(published, part)),
        "accuracy": markdown_table(tables.display(part, shown)),
        "size": markdown_table(tables.display(part, columns.SIZE)),
        "seeds": markdown_table(over_seeds) if len(over_seeds) else "",
        "verdicts": seeds.verdicts(tables.records(part)),
    }


def _is_held_against_published(part: pd.DataFrame) -> bool:
    return bool(part[["from_published_test", "from_published_validation"]].notna().any(axis=None))


def _without_published(chosen: Sequence[columns.Column]) -> list[columns.Column]:
    return [c for c in chosen if c not in columns.AGAINST_PUBLISHED]


def _joined(published: pd.DataFrame, part: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([tables.display(p, columns.BRIEF) for p in (published, part)])


def _runs(measured: Sequence[Record], machines: list[str], versions: list[str]) -> Markup:
    """The table of runs, each with an anchor that other tables link to."""
    lines = [
        "| Run | Model | Seed | Made | Commit | Machine | Versions | Command |",
        "|---" * 8 + "|",
    ]
    for r in measured:
        run = text.short(r["run"])
        anchor = f'<a id="run-{run}"></a>' if re.fullmatch("[0-9a-f]{12}", run) else ""
        cells = [columns.name(r), r["seed"], r["time"], text.short(r["commit"])]
        cells += [machines.index(r["machine"]) + 1, versions.index(r["versions"]) + 1]
        shown = [anchor + escape.for_markdown(run), *map(escape.for_markdown, cells)]
        command = f"<code>{escape.for_markdown(r['command'])}</code>"
        lines.append("| " + " | ".join([*shown, command]) + " |")
    return Markup("\n".join(lines))


def _table(records: Any) -> Markup:
    import pandas as pd

    return markdown_table(pd.DataFrame(list(records)))
