"""The model that a row belongs to: a foreign model from a file, or a model with a published network."""

from __future__ import annotations

from collections.abc import Sequence

from compress.report.references import PublishedFigure, find, other_networks
from compress.report.text import short
from compress.rows.result import Result


def foreign_models(rows: Sequence[Result]) -> dict[str, str]:
    """Digest -> file name and digest, for each model that is neither a task's own nor trained here."""
    own = {row.model for row in rows if row.model_file is None}
    named: dict[str, str] = {}
    for row in rows:
        if row.model_file is not None and row.model not in own:
            named.setdefault(row.model, f"{row.model_file} ({short(row.model)})")
    return named


def trained_on(rows: Sequence[Result]) -> dict[str, str]:
    """Digest -> the splits it trained on, for each model that trained on more than the training images.

    All models made from such a model have learned from those images too.
    """
    return {
        row.model: row.trained_on for row in rows if row.trained_on != "train" and not row.pipeline
    }


def networks(row: Result, baseline: Result | None, figures: Sequence[PublishedFigure]) -> list[str]:
    """The names of the published models that have the same network as the incoming model of `row`.

    The networks are compared by their number of parameters, if both numbers are known. If that of the incoming model is
    not known, a model that did not come from a file has the network of the task.
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
