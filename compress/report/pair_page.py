"""The comparison of two models as one self-contained HTML file, with images that only one of them gets right."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from compress.report import text
from compress.report.behaviour import Predictions

MOST_FLIPS = 12  # shown in each direction, at most
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{ record.a.name }} against {{ record.b.name }}</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 1rem auto; max-width: 60rem; padding: 0 1rem; overflow-wrap: anywhere; }
div { overflow-x: auto; }
th, td { padding: .2rem .8rem .2rem 0; text-align: right; } th:first-child, td:first-child { text-align: left; }
figure { display: inline-block; margin: .5rem; width: 9rem; vertical-align: top; font-size: .8rem; }
img { width: 9rem; image-rendering: pixelated; }
</style>
<main>
<h1>{{ record.verdict }}</h1>
<p>Of {{ count(record.images) }} {{ record.measured_on }} images the first alone gets {{ count(record.only_a_right) }}
right, the second alone {{ count(record.only_b_right) }}; exact McNemar test, p = {{ p_value(record.p) }}.</p>
{% for heading, table in tables if table %}
<h2>{{ heading }}</h2>
<div tabindex="0" role="region" aria-label="{{ heading }}"><table>
<tr>{% for name in table[0] %}<th scope="col">{{ name }}</th>{% endfor %}</tr>
{% for line in table %}<tr>{% for cell in line.values() %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table></div>
{% endfor %}
{% for heading, flips in sheets if flips %}
<h2>{{ heading }}</h2>
{% for flip in flips %}
<figure><img src="data:image/png;base64,{{ flip.png }}" alt="{{ flip.label }}">
<figcaption>{{ flip.label }}; first: {{ flip.first }}, second: {{ flip.second }}</figcaption></figure>
{% endfor %}
{% endfor %}
</main>
</html>
"""


@dataclass(frozen=True)
class Flip:
    """An image that only one of the two models gets right, with the predictions of both."""

    png: str  # base64
    label: str
    first: str
    second: str


def flips(
    images: np.ndarray, first: Predictions, second: Predictions, names: Sequence[str], won: bool
) -> list[Flip]:
    """Images that only the first model gets right, or only the second if `won`; the most confident errors come first.

    Args:
      images: uint8 [n, h, w, c], the images that both models were measured on.
    """
    right, wrong = (second, first) if won else (first, second)
    apart = (right.classes == right.labels) & (wrong.classes != wrong.labels)
    found = np.flatnonzero(apart)
    surest = found[np.argsort(-wrong.probabilities[found].astype(np.float32), kind="stable")]
    return [
        Flip(
            _png(images[i]),
            names[int(right.labels[i])],
            *(f"{names[int(p.classes[i])]} {100 * float(p.probabilities[i]):.0f} %" for p in (first, second)),
        )
        for i in surest[:MOST_FLIPS].tolist()
    ]  # fmt: skip


def pair_page(record: dict[str, Any], sheets: Sequence[tuple[str, list[Flip]]]) -> str:
    """The HTML page for a record of `pair.held_against`; `sheets` are headings with their images."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(PAGE).render(
        record=record,
        tables=[("The two models", models(record)), ("Class by class", classes(record))],
        sheets=sheets,
        count=text.count,
        p_value=text.p_value,
    )


def models(record: dict[str, Any]) -> list[dict[str, str]]:
    """Both models as lines of a table."""
    return [
        {
            "model": side["name"],
            "top-1, %": text.with_interval(side["top1"], side["top1_low"], side["top1_high"]),
            "cross-entropy": text.decimals(side["cross_entropy"], 4),
            "file": text.kilobytes(side["file_bytes"]),
            "gzip": text.kilobytes(side["gzip_bytes"]),
            "arena": text.kilobytes(side["arena_bytes"]),
        }
        for side in (record["a"], record["b"])
    ]


def classes(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The classes as lines of a table; no lines if labels are not known."""
    return [
        {
            "class": each["class"],
            "images": each["images"],
            "first alone right": each["only_a_right"],
            "second alone right": each["only_b_right"],
            "difference, points": text.points(each["difference"], "+"),
        }
        for each in record["per_class"] or []
    ]


def _png(image: np.ndarray) -> str:
    from PIL import Image

    packed = io.BytesIO()
    Image.fromarray(image.squeeze() if image.shape[2] == 1 else image[..., :3]).save(packed, "png")
    return base64.b64encode(packed.getvalue()).decode()
