"""Published figures: read them from CSV files, select them, and compare them with each other."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from compress.report.text import p_value, with_interval
from compress.statistics.significance import (
    SIGNIFICANCE,
    two_proportion_difference,
    two_proportion_p,
    two_proportion_z,
)

# Quantity -> the field of a record that it is drawn with. A published model with such a quantity has another network
# than the task: pictures show it as a separate mark, and no row is compared with it.
SIZES = {"file_bytes": "file_bytes", "coded_bytes": "entropy_bytes", "macs": "macs"}


@dataclass(frozen=True, kw_only=True)
class PublishedFigure:
    """One published figure."""

    name: str  # of the published model
    data: str  # only rows of the same data are compared with it
    quantity: str
    split: str  # "train", "validation", "test", or "" if it has none
    images: int | None
    value: float  # accuracies as fractions, sizes in bytes
    as_published: str
    source: str

    @property
    def successes(self) -> int:
        """An accuracy as a count: how many of `images` were right."""
        return round(self.value * (self.images or 0))


def read_references(paths: Sequence[Path]) -> list[PublishedFigure]:
    """The figures of all files, in order. A ValueError names the line of a figure that cannot be read."""
    columns = [f.name for f in fields(PublishedFigure)]
    figures = []
    for path in paths:
        lines = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")), strict=True)
        if lines.fieldnames is None or list(lines.fieldnames) != columns:
            raise ValueError(f"{path}: the first line must be {','.join(columns)}.")
        try:
            figures += [_figure(line) for line in lines]
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{path}, line {lines.line_num}: {error}") from error
    return figures


@dataclass(frozen=True)
class Mark:
    """A published result of another network, as a point of a picture."""

    name: str
    top1: float
    size: float  # in the unit of the field in `SIZES`
    as_published: str


def other_networks(figures: Sequence[PublishedFigure]) -> list[PublishedFigure]:
    """The figures of published models with another network than the task; see `SIZES`."""
    names = {f.name for f in figures if f.quantity in SIZES}
    return [f for f in figures if f.name in names]


def marks(figures: Sequence[PublishedFigure], data: str, field: str) -> list[Mark]:
    """The published results of other networks on test images of `data`, if a size for that field was published."""
    found = []
    for figure in other_networks(figures):
        accuracy = find(figures, figure.name, "accuracy", "test")
        if accuracy and SIZES.get(figure.quantity) == field and figure.data == data:
            told = f"{figure.as_published}, {accuracy.as_published}"
            found.append(Mark(figure.name, accuracy.value, figure.value, told))
    return found


def of_others(figures: Sequence[PublishedFigure]) -> list[str]:
    """A sentence for each source of published results of other networks."""
    named: dict[str, list[str]] = {}  # sources -> their figures in words
    others = other_networks(figures)
    for name in dict.fromkeys(f.name for f in others):
        its = [f for f in others if f.name == name]
        sources = "; ".join(dict.fromkeys(f.source for f in its))
        told = ", ".join(f.as_published for f in its)
        named.setdefault(sources, []).append(f"{name}: {told}")
    return [
        f"Published for other networks, as given and not verified: {'; '.join(told)}. From: {sources}."
        for sources, told in named.items()
    ]


def _figure(line: dict[str, str]) -> PublishedFigure:
    # csv.DictReader puts surplus fields under the key None, and fills missing fields with None.
    if None in line or None in line.values():
        raise ValueError(
            f"the line must have {len(fields(PublishedFigure))} fields, as the first line has."
        )
    images = int(line["images"]) if line["images"] else None
    value = float(line["value"])
    if not math.isfinite(value):
        raise ValueError(f"the value {line['value']} is not a finite number.")
    if line["quantity"] in SIZES and value <= 0:
        raise ValueError(f"a size needs a value above 0, not {line['value']}.")
    if line["quantity"] == "accuracy" and not (0 <= value <= 1 and images and images > 0):
        raise ValueError("an accuracy needs a value from 0 to 1 and a number of images above 0.")
    texts = {k: line[k].strip() for k in ("name", "data", "quantity", "split")}
    texts |= {k: line[k].strip() for k in ("as_published", "source")}
    return PublishedFigure(**texts, images=images, value=value)


def accuracies(
    figures: Sequence[PublishedFigure], data: str | None = None, measured_on: str = "test"
) -> list[PublishedFigure]:
    """The published accuracies, on `data` if it is given, to show with rows that were measured on a split.

    Rows on test images are shown with all of them, rows on validation images only with those on validation images.
    Accuracies of other networks are left out.
    """
    others = {f.name for f in other_networks(figures)}
    published = [f for f in figures if f.quantity == "accuracy" and data in (None, f.data)]
    published = [f for f in published if f.name not in others]
    return [f for f in published if measured_on == "test" or f.split == measured_on]


def find(
    figures: Sequence[PublishedFigure], name: str, quantity: str, split: str = ""
) -> PublishedFigure | None:
    """The figure of that name, quantity and split; None if it was not published."""
    wanted = (name, quantity, split)
    return next((f for f in figures if (f.name, f.quantity, f.split) == wanted), None)


def contradicts(a: PublishedFigure, b: PublishedFigure) -> bool:
    """True if two accuracies of one model on different splits differ by more than chance explains."""
    counts = (a.successes, a.images or 0, b.successes, b.images or 0)
    other = a.name == b.name and a.split != b.split
    return other and two_proportion_p(*counts) < SIGNIFICANCE


def judgements(figures: Sequence[PublishedFigure]) -> list[str]:
    """A sentence for each pair of published figures that can be compared."""
    sentences = []
    for name in dict.fromkeys(f.name for f in figures):
        validation = find(figures, name, "accuracy", "validation")
        test = find(figures, name, "accuracy", "test")
        if validation and test:
            sentences.append(_on_accuracies(validation, test))
        params = find(figures, name, "params")
        below = find(figures, name, "file_bytes_below")
        if params and below:
            sentences.append(_on_size(params, below))
    return sentences


def _on_accuracies(validation: PublishedFigure, test: PublishedFigure) -> str:
    counts = (validation.successes, validation.images or 0, test.successes, test.images or 0)
    measured = (
        f"{validation.value:.2%} on {validation.images:,} validation images and {test.value:.2%} "
        f"on {test.images:,} test images lie {abs(two_proportion_z(*counts)):.1f} standard errors "
        f"apart (pooled two-proportion z test, p = {p_value(two_proportion_p(*counts))})"
    ).replace("%", " %")
    gap = with_interval(*two_proportion_difference(*counts))
    if not contradicts(validation, test):
        return f"The two published accuracies of {validation.name} agree: {measured}."
    return (
        f"The two published accuracies of {validation.name} contradict each other: {measured}. So they fail "
        f"the check of validation against test that compress data --check makes, by {gap} points. "
        "Chance does not part two fair measurements of one model that far, so at most one of them "
        "tells how it does on images that had no part in making it. Our own accuracies are "
        "measured on test images; the published test accuracy is their counterpart."
    )


def _on_size(params: PublishedFigure, below: PublishedFigure) -> str:
    count = int(params.value)
    fit = [kind for kind, size in (("float32", 4), ("int8", 1)) if size * count < below.value]
    verdict = {0: "neither is", 1: "only int8 is", 2: "both are"}[len(fit)]
    return (
        f"The {count:,} numbers of {params.name} take {4 * count:,} bytes as float32 and {count:,} "
        f"bytes as int8: of the published size, {below.as_published}, {verdict}."
    )
