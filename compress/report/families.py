"""Which model a row belongs to: one that came in a file of somebody else, or one of a published network."""

from __future__ import annotations

from collections.abc import Sequence

from compress.report.references import PublishedFigure, find, other_networks
from compress.report.text import short
from compress.rows.result import Result


def foreign_models(rows: Sequence[Result]) -> dict[str, str]:
    """Digest -> file name and digest, of the models that are neither a task's own nor trained here."""
    own = {row.model for row in rows if row.model_file is None}
    named: dict[str, str] = {}
    for row in rows:
        if row.model_file is not None and row.model not in own:
            named.setdefault(row.model, f"{row.model_file} ({short(row.model)})")
    return named


def trained_on(rows: Sequence[Result]) -> dict[str, str]:
    """Digest -> what it trained on, of the models that trained on more than the training images.

    Whatever was made of such a model has learnt from those images too.
    """
    return {
        row.model: row.trained_on for row in rows if row.trained_on != "train" and not row.pipeline
    }


def networks(row: Result, baseline: Result | None, figures: Sequence[PublishedFigure]) -> list[str]:
    """The published models that have the network of the model that `row` was made of, told by its parameters.

    Where they are not known, the network of a model that came in no file of its own is the task's.
    """
    params = baseline.params if baseline else None
    own = row.model_file is None
    others = {f.name for f in other_networks(figures)}
    names = dict.fromkeys(f.name for f in figures if f.name not in others)
    published = {name: find(figures, name, "params") for name in names}
    return [
        name
        for name, figure in published.items()
        if figure is None or (own if params is None else params == figure.value)
    ]
