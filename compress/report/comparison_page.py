"""The page on a comparison, in Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from compress.report import columns, escape, seeds, tables, text
from compress.report.behaviour import Behaviour
from compress.report.compare import SECTION, Record
from compress.report.references import PublishedFigure, judgements
from compress.significance import wilson_interval

if TYPE_CHECKING:
    import pandas as pd


Found = Mapping[tuple[str, str], Behaviour]  # see `behaviour.behaviours`


MOST_CLASSES = 20  # that a table has columns for


def comparison_page(
    table: pd.DataFrame, figures: Sequence[PublishedFigure], found: Found | None = None
) -> str:
    """The page on a comparison, in Markdown; `found` is as `behaviour.behaviours` gives it."""
    measured = [r for r in tables.records(table) if r["kind"] != "reference"]
    keys = dict.fromkeys(tuple(r[k] for k in SECTION) for r in measured)
    machines = list(dict.fromkeys(r["machine"] for r in measured))
    versions = list(dict.fromkeys(r["versions"] for r in measured))
    return _template().render(
        rows=len(measured),
        references=[_reference(name, figures) for name in dict.fromkeys(f.name for f in figures)],
        published_data=", ".join(dict.fromkeys(f.data for f in figures)),
        judgements=judgements(figures),
        sections=[_section(table, key, found or {}) for key in keys],
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


def _section(table: pd.DataFrame, key: tuple[str, ...], found: Found) -> dict[str, Any]:
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
        "hidden": hidden_tables(part, found),
        "size": markdown_table(tables.display(part, columns.SIZE)),
        "seeds": markdown_table(over_seeds) if len(over_seeds) else "",
        "verdicts": seeds.verdicts(tables.records(part)),
    }


def hidden_tables(part: pd.DataFrame, found: Found) -> list[tuple[str, Markup]]:
    """The tables of a section on what accuracy hides, each after its sentence; none where nothing is known."""
    records = [r for r in tables.records(part) if (r["run"], r["split_digest"]) in found]
    shown: Sequence[columns.Column] = columns.HIDDEN
    lines = part
    if not records:
        shown = tuple(c for c in shown if c not in columns.OF_PREDICTIONS)
        lines = part[part.won.notna()]
    by_class, curves = [], []
    for r in records:
        behaviour = found[r["run"], r["split_digest"]]
        named = {"Model": columns.name(r), "Seed": columns.SEED.cell(r)}
        run = {"Run": text.short(r["run"])}
        if 0 < len(changes := behaviour.class_changes or {}) <= MOST_CLASSES:
            shown_changes = {
                f"class {k}" if k in named | run else k: text.points(v, "+")
                for k, v in changes.items()
            }
            by_class.append(named | shown_changes | run)
        bins = {
            each.upto: f"{100 * each.confidence:.1f}: {100 * each.accuracy:.1f} ({each.images:,})"
            for each in behaviour.curve
        }
        curves.append((named, bins, run))
    made = [("", markdown_table(tables.display(lines, shown)))] if len(lines) else []
    if by_class:
        made.append(("Change of the right answers of each class, in points:", _table(by_class)))
    if curves:
        sentence = (
            "Reliability: of the images whose most likely class has a probability in a bin, the mean of that "
            "probability, how many are right, both in percent, and in brackets how many images these are."
        )
        borders = sorted({border for _, bins, _ in curves for border in bins})
        lines_of_bins = [
            named | {f"to {100 * border:.0f} %": bins.get(border, "") for border in borders} | run
            for named, bins, run in curves
        ]
        made.append((sentence, _table(lines_of_bins)))
    return made


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
