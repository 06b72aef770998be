"""The picture of the page in Vega-Lite: one frame for all axes, made by Altair, and the data of each axis."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

from compress.report import columns, front, placing, text
from compress.report.compare import Record
from compress.report.references import PublishedFigure, accuracies, contradicts
from compress.report.scene import Pixels, Scene, scene
from compress.text import printable

# Width and height of the inner part of the picture, in pixels: the page uses the widest that fits.
LAYOUTS = ((270, 300), (520, 380), (660, 400), (940, 395))
NAMES_FROM = 500  # pictures narrower than this have only numbers at their points


@functools.cache
def libraries() -> str:
    """Vega, Vega-Lite and Vega-Embed as JavaScript, from vl-convert."""
    import vl_convert

    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle.replace("</script", "<\\/script")


@functools.cache
def frame() -> dict[str, Any]:
    """The Vega-Lite specification without its data. Its expressions never contain text of a row."""
    import altair as alt

    x = alt.X(
        "x:Q",
        scale=alt.Scale(type="log", nice=False, domain=[1, 10]),
        axis=alt.Axis(title="", format=",~r", grid=False),
    )
    y = alt.Y(
        "y:Q",
        scale=alt.Scale(zero=False, nice=False, domain=[0, 100]),
        axis=alt.Axis(title="Top-1, %, with 95 % interval", format="~f"),
    )
    at: dict[str, Any] = {"x": "x:Q", "y": "y:Q"}
    interval: dict[str, Any] = {"x": "x:Q", "y": "low:Q", "y2": "high:Q"}

    def layer(name: str, data: str, mark: str, /, **how: Any) -> Any:
        encoding = how.pop("encoding")
        chart = getattr(alt.Chart(alt.NamedData(data), name=name), f"mark_{mark}")
        return chart(clip=mark != "text", **how).encode(**encoding)

    tip = {"tooltip": "tip:N"}
    shift = {key: alt.expr(f"datum.{key}") for key in ("dx", "dy", "align")}
    text_at = {**at, "text": "lines:N"}
    layers = [
        layer("other", "others", "circle", size=40, encoding={"x": x, "y": y, **tip}),
        layer("interval", "others", "rule", encoding=interval),
        layer("level", "levels", "rule", strokeDash=[5, 3], encoding={"y": "y:Q"}),
        layer("levelname", "levels", "text", align="right", baseline="bottom", dy=-3,
              encoding={"x": alt.value("width"), "y": "y:Q", "text": "label:N"}),
        layer("limit", "limits", "rule", strokeDash=[2, 3], encoding={"x": "x:Q"}),
        layer("limitname", "limits", "text", align="left", baseline="bottom", dx=4, dy=-4,
              encoding={"x": "x:Q", "y": alt.value("height"), "text": "label:N"}),
        layer("mark", "marks", "point", shape="diamond", size=70, encoding={**at, **tip}),
        layer("markname", "marknames", "text", fontSize=11, baseline="middle", **shift, encoding=text_at),
        layer("line", "front", "line", interpolate="step-after", encoding=at),
        layer("span", "named", "rule", encoding=interval),
        layer("bestspan", "best", "rule", encoding=interval),
        layer("point", "front", "circle", size=90, encoding={**at, **tip}),
        layer("base", "base", "circle", size=90, encoding={**at, **tip}),
        layer("best", "best", "circle", size=130, encoding={**at, **tip}),
        layer("name", "names", "text", fontSize=11, lineHeight=14, baseline="middle", **shift,
              encoding=text_at),
        layer("bestname", "bestnames", "text", fontSize=11, lineHeight=14, baseline="middle",
              fontWeight="bold", **shift, encoding=text_at),
    ]  # fmt: skip
    chart = alt.layer(*layers).configure(aria=False, background="transparent")
    chart = chart.configure_view(stroke=None).configure_axis(labelFontSize=11, titleFontSize=12)
    made: dict[str, Any] = chart.to_dict()
    return made


def choices(
    rows: Sequence[Record], figures: Sequence[PublishedFigure], anchors: dict[int, str]
) -> list[dict[str, Any]]:
    """For each axis that the rows of a section have: the answer, the list of named rows and the data of the picture.

    Args:
      anchors: id of a record -> its anchor on the page; no entry if it has none.
    """
    made = []
    for axis in front.axes_of(rows):
        seen = scene(rows, axis, figures)
        if seen is not None:
            made.append(_choice(rows, seen, anchors))
    return made


def _choice(rows: Sequence[Record], seen: Scene, anchors: dict[int, str]) -> dict[str, Any]:
    axis, base = seen.axis, front.main_baseline(rows)
    of_run = {r["run"]: anchors.get(id(r)) for r in rows}
    on_front = {id(r) for r in seen.front}

    def point(r: Record) -> dict[str, Any]:
        tip = printable(f"{seen.name(r)}: {front.brief(r, axis)}")
        ends = {"low": _percent(r["top1_low"]), "high": _percent(r["top1_high"])}
        at = {"x": axis.of(r), "y": _percent(r["top1"])}
        return {**at, **ends, "tip": tip, "to": anchors.get(id(r))}

    return {
        "field": axis.field,
        "title": axis.title,
        "answer": [[printable(part), of_run.get(run)] for part, run in front.answer(rows, axis)],
        "outside": printable(seen.outside),
        "ladder": [
            {
                "name": printable(seen.name(r)),
                "to": anchors.get(id(r)),
                "told": _told(r, base, seen, id(r) in on_front),
            }
            for r in seen.named
        ],
        "marks": [
            printable(f"{_letter(i)}: {m.name}, {m.as_published}")
            for i, m in enumerate(seen.marks)
        ],
        "x": seen.x,
        "y": [_percent(y) for y in seen.y],
        "ticks": _ticks(*seen.x),
        "data": {
            "others": [point(r) for r in seen.others if r is not seen.best and r is not base],
            "front": [point(r) for r in seen.front],
            "named": [point(r) for r in seen.named if r is not seen.best],
            "best": [point(r) for r in seen.named if r is seen.best],
            "base": [point(r) for r in seen.named if r is base and id(r) not in on_front],
            "marks": [
                {"x": m.size / axis.scale, "y": _percent(m.top1), "tip": printable(f"{m.name}: {m.as_published}")}
                for m in seen.marks
            ],
            "limits": [
                {"x": f.value / 1000, "label": printable(f"published: {f.as_published}")}
                for f in seen.published
                if f.quantity == "file_bytes_below" and axis is front.AXES[0]
                and seen.x[0] < f.value / 1000 < seen.x[1]
            ],
        },
        "layouts": [_layout(seen, size) for size in LAYOUTS],
    }  # fmt: skip


def _told(r: Record, base: Record | None, seen: Scene, on_front: bool) -> str:
    told = f"{seen.axis.shown(r[seen.axis.field])}, {text.points(r['top1'])} %"
    if r is not base and r["model"] == (base or r)["model"] and r["difference"] is not None:
        told += f": {front.cost(r, base)}"
    told += "; ship this one" if r is seen.best else ""
    return told if on_front else f"{told}; not on the front"


def _layout(seen: Scene, size: tuple[int, int]) -> dict[str, Any]:
    """The positions of the names in a picture of that size."""
    pixels = Pixels(seen, size)
    at = [(seen.axis.of(r), r["top1"]) for r in seen.named]
    at += [(m.size / seen.axis.scale, m.top1) for m in seen.marks]
    points = [*map(pixels.point, seen.named), *map(pixels.mark, seen.marks)]
    labels = [_lines(i, r, seen, size[0]) for i, r in enumerate(seen.named, 1)]
    labels += [[_letter(i)] for i in range(len(seen.marks))]
    places = placing.placed(points, labels, size, pixels.obstacles())
    made = [
        {"x": x, "y": _percent(top1), "lines": lines, "align": p.align, "dx": p.dx,
         "dy": p.dy - placing.HEIGHT / 2 * (len(lines) - 1)}  # Vega places the first line, not the middle
        for (x, top1), lines, p in zip(at, labels, places, strict=True)
    ]  # fmt: skip
    made, of_marks = made[: len(seen.named)], made[len(seen.named) :]
    best = [r is seen.best for r in seen.named]
    return {
        "width": size[0],
        "height": size[1],
        "levels": [
            {"y": _percent(f.value), "label": _level(f, seen, size[0] < NAMES_FROM)}
            for f in seen.levels
        ],
        "names": [m for m, b in zip(made, best, strict=True) if not b],
        "bestnames": [m for m, b in zip(made, best, strict=True) if b],
        "marknames": of_marks,
    }


def _lines(number: int, r: Record, seen: Scene, width: int) -> list[str]:
    if width < NAMES_FROM:
        return [str(number)]
    first, *rest = placing.lines_of(printable(columns.name(r)[:160]))
    return [f"{number} {first}", *rest, front.brief(r, seen.axis)]


def _letter(index: int) -> str:
    """The name of a published result of another network in the picture: A, B, ... Z, A2, ..."""
    turn, place = divmod(index, 26)
    return chr(ord("A") + place) + (str(turn + 1) if turn else "")


def _level(figure: PublishedFigure, seen: Scene, brief: bool) -> str:
    told = f"published, {figure.split}: {text.points(figure.value)} %"
    against = any(contradicts(f, figure) for f in accuracies(seen.published))
    return printable(told + (", contradicted by the other" if against and not brief else ""))


def _percent(fraction: float) -> float:
    return round(100 * fraction, 6)


def _ticks(low: float, high: float) -> list[float]:
    """The ticks in a range: 1, 2 and 5 times powers of ten."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [float(f"{m}e{p}") for p in powers for m in (1, 2, 5)]
    return [t for t in ticks if low <= t <= high]
