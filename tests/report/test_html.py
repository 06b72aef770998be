"""The HTML page: one file, deterministic, safe for any text in the rows, and every number comes from the rows."""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import html
import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from compress import registry
from compress.api import write_pages
from compress.measurement import predictions
from compress.report import tables, text
from compress.report.behaviour import Predictions, behaviours
from compress.report.compare import figures_beside
from compress.report.html import page, picture
from compress.report.references import other_networks, read_references
from compress.rows.jsonl import read_from
from compress.rows.result import Result
from support.report_rows import PUBLISHED, bits, digest, example, flipped, pruned, row

ROOT = Path(__file__).parents[2]
BASE = bits(9000)
KEPT = ["reports/results.jsonl", "reports/strangers/results.jsonl", "reports/device/results.jsonl"]
HOSTILE = "</script><script>top.pwned=1</script>\u2028<img src=x onerror=top.pwned=1> '+alert(1)+' {{7*7}} \u202e"


def made(*rows: Result) -> str:
    figures = figures_beside(rows, read_references([PUBLISHED]))
    return page.page(tables.records(tables.compared(rows, figures)), rows, figures, {})


def on_validation(made: Result) -> Result:
    return dataclasses.replace(made, measured_on="validation")


def data_of(content: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', content)
    loaded: dict[str, Any] = json.loads(found)
    return loaded


def test_the_page_is_one_file_whose_policy_forbids_network_access() -> None:
    content = made(*example())
    assert len(content) < 4_000_000
    policy = html.unescape(re.findall(r'Content-Security-Policy" content="([^"]*)"', content)[0])
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", content, re.S)
    assert len(scripts) == 2
    for script in scripts:
        allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{allowed}'" in policy
    markup = re.sub(r"<script.*?</script>", "", content, flags=re.S)
    assert re.findall(r"(?:src|href)=\"(?!#)[^\"]*", markup) == []


def test_hostile_text_is_escaped_everywhere() -> None:
    hostile = pruned(
        flipped(BASE, 60, 50), file_bytes=90_000, label=HOSTILE, data="cifar10", command=HOSTILE,
        machine=HOSTILE, notes=[HOSTILE], versions={HOSTILE: HOSTILE}, commit=HOSTILE,
        kernel_sparsity={HOSTILE: 0.5}, recorded={HOSTILE: HOSTILE}, model_file=HOSTILE,
    )  # fmt: skip
    content = made(row(BASE, model_file=HOSTILE), hostile)
    assert content.count("<script") == 3
    assert content.lower().count("</script>") == 3
    own = content.replace(picture.libraries(), "")
    assert "<img" not in own
    assert not {"\u2028", "\u202e"} & set(own)
    assert "{{7*7}}" in content
    assert HOSTILE[:20] in json.dumps(data_of(content)["sections"], ensure_ascii=False)


def test_no_text_of_a_row_is_in_an_expression_of_the_picture() -> None:
    frame = json.dumps(picture.frame())
    expressions = re.findall(r'"expr": "([^"]*)"', frame)
    assert sorted(set(expressions)) == ["datum.align", "datum.dx", "datum.dy"]
    assert picture.frame() == data_of(made(row(BASE, label="baseline")))["frame"]


def test_the_picture_is_valid_vega_lite() -> None:
    import altair
    import jsonschema

    data = data_of(made(*example()))
    for choices in data["sections"]:
        for choice in choices:
            spec = json.loads(json.dumps(data["frame"]))
            spec["layer"][0]["encoding"]["x"]["scale"]["domain"] = choice["x"]
            spec["datasets"] = choice["data"] | {
                k: choice["layouts"][0][k] for k in ("levels", "names", "bestnames")
            }
            chart = altair.LayerChart.from_dict(spec)  # raises if the schema does not allow it
            assert chart.to_dict()["layer"]
    del spec["layer"][0]["mark"]
    with pytest.raises(jsonschema.ValidationError):
        altair.LayerChart.from_dict(spec)


def test_each_axis_with_values_is_offered_and_has_its_answer() -> None:
    small = pruned(flipped(BASE, 60, 50), file_bytes=90_000, macs=9_000_000)
    ((file, gzip, macs),) = data_of(made(row(BASE), small))["sections"]
    assert [c["field"] for c in (file, gzip, macs)] == ["file_bytes", "gzip_bytes", "macs"]
    assert "".join(part for part, _ in macs["answer"]).startswith(
        "Ship prune --sparsity 0.5: 9,000,000 multiply-accumulates, 48.8 % of"
    )
    assert [s["name"] for s in macs["ladder"]] == ["baseline", "prune --sparsity 0.5"]


def test_links_of_the_page_lead_to_rows_with_their_command() -> None:
    content = made(*example())
    anchors = set(re.findall(r'id="([^"]+)"', content))
    links = re.findall(r'href="#([^"]+)"', content)
    assert links
    assert set(links) <= anchors
    for each in example():
        assert f"run-{each.run[:12]}" in links
    assert content.count("<code>compress run prune --sparsity 0.9</code>") == 1


def test_a_run_measured_on_two_splits_has_two_anchors() -> None:
    chosen = dataclasses.replace(row(bits(7000, 7500), run=digest("0")), measured_on="validation")
    content = made(chosen, row(BASE, run=digest("0")))
    ids = re.findall(r'id="([^"]+)"', content)
    assert len(ids) == len(set(ids))
    assert f"run-{digest('0')[:12]}-2" in ids


def test_a_section_of_validation_images_lists_no_published_test_accuracy() -> None:
    content = made(on_validation(row(bits(7000, 7500))), row(BASE))
    test, validation = re.findall(r'<section id="section.*?</section>', content, re.S)
    assert "cnn-118k, published, test" in test
    assert "cnn-118k, published, validation" in test
    assert "cnn-118k, published, validation" in validation
    assert "cnn-118k, published, test" not in validation


def test_missing_parts_of_a_row_are_named() -> None:
    content = made(row(BASE), pruned(flipped(BASE, 60, 50), file_bytes=90_000))
    assert "does not hold the ledger of the file and predictions" in content
    trained = made(row(BASE, label="train --epochs 9"))
    assert "does not hold the ledger of the file and the curve of its training and" in trained


def test_the_training_curve_is_drawn_and_described() -> None:
    content = made(row(BASE, label="train --epochs 3", curve=[0.5, 0.75, 0.7]))
    assert 'points="0.0,100.0 50.0,0.0 100.0,20.0"' in content
    told = (
        "50.00 % after the first of 3 epochs, 70.00 % after the last; best 75.00 % after epoch 2."
    )
    assert told in content
    assert "the curve of its training" not in content
    assert "by epoch of train --epochs 3: 50.00 %" in content
    assert 'points="50.0,100.0"' in made(row(BASE, label="train --epochs 1", curve=[0.5]))


def test_a_stage_without_training_shows_the_curve_of_the_stage_before() -> None:
    spec, other = {"stage": "prune", "epochs": 2}, {"stage": "prune", "epochs": 3}
    rounded, bits_of = {"stage": "quantize"}, flipped(BASE, 60, 50)
    rows = [
        row(BASE),
        row(bits_of, [spec], curve=[0.5, 0.75], file_bytes=400_000),
        row(bits_of, [other], curve=[0.1, 0.2, 0.3], file_bytes=399_000),
        row(flipped(BASE, 60, 49), [spec, rounded], file_bytes=90_000),
    ]
    content = made(*rows)
    shown = re.findall(
        r'<details class="model"><summary>(.*?)</summary>(.*?)</details>', content, re.S
    )
    (told,) = [text for name, text in shown if name.endswith("quantize")]
    assert "by epoch of prune --epochs 2: 50.00 % after the first of 2 epochs" in told


def test_a_page_of_very_many_rows_lists_at_most_most_rows() -> None:
    one = pruned(flipped(BASE, 60, 50))
    records = tables.compared_records([row(BASE), one], [])
    many = [records[0]] + [
        {**records[1], "run": digest(str(i)), "top1": 0.5 + i / 100_000, "file_bytes": 10_000 + i}
        for i in range(3000)
    ]
    rows = [row(BASE)] + [dataclasses.replace(one, run=digest(str(i))) for i in range(3000)]
    content = page.page(many, rows, [], {})
    assert len(content) < 4_000_000
    assert f"{page.MOST_ROWS} of 3001 rows are here" in content
    assert content.count('class="run"') == page.MOST_ROWS


def ladder(*points: tuple[float, int]) -> str:
    """The page of a baseline and of models with these accuracies and bytes, on validation images, beside published
    figures.
    """
    chosen = bits(6600, 7500)
    rows = [row(chosen), pruned(flipped(chosen, 60, 50))]
    rows = [on_validation(r) for r in rows]
    figures = figures_beside(rows, read_references([PUBLISHED]))
    published, base, one = tables.compared_records(rows, figures)[-3:]
    assert one["from_published_validation"] is not None
    many = [
        {**one, "run": digest(str(i)), "top1": top1, "top1_low": top1 - 0.007, "top1_high": top1 + 0.007,
         "difference": -0.05, "p_adjusted": 0.0, "file_bytes": size}
        for i, (top1, size) in enumerate(points)
    ]  # fmt: skip
    runs = [dataclasses.replace(rows[1], run=r["run"]) for r in many]
    return page.page([published, base, *many], [rows[0], *runs], figures, {})


def test_every_row_that_the_picture_names_is_on_the_page_beside_published_figures() -> None:
    content = ladder(*((0.74 + i * 0.00022, 10_000 + i) for i in range(600)))
    assert f"{page.MOST_ROWS} of 601 rows are here" in content
    named = data_of(content)["sections"][0][0]["ladder"]
    assert len(named) > 5
    assert all(each["to"] for each in named)


def test_rows_of_a_front_are_on_the_page_before_more_accurate_rows_off_it() -> None:
    front = [(0.85 + i * 0.001, 10_000 + i) for i in range(40)]
    content = ladder(*front, *((0.888, 20_000 + i) for i in range(560)))
    assert f"{page.MOST_ROWS} of 601 rows are here" in content
    points = data_of(content)["sections"][0][0]["data"]["front"]
    assert len(points) > 35
    assert all(point["to"] for point in points)


# Every number comes from a row

SHOWN = ("answer", "ladder", "outside", "rows", "model", "run")
NUMBER = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:e[+-]?\d+)?")


class Texts(HTMLParser):
    """The texts of the elements that show what rows hold."""

    def __init__(self) -> None:
        super().__init__()
        self.within: list[bool] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "input", "br"):
            classes = (dict(attrs).get("class") or "").split()
            self.within.append(
                bool(set(classes) & set(SHOWN)) or (bool(self.within) and self.within[-1])
            )
            if tag in ("thead", "caption", "script", "style"):
                self.within[-1] = False

    def handle_endtag(self, tag: str) -> None:
        self.within.pop()

    def handle_data(self, data: str) -> None:
        if self.within and self.within[-1]:
            self.texts.append(data)


def leaves(value: Any) -> Iterator[Any]:
    """All values and names in a JSON value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    else:
        yield value


def shown_as(value: Any) -> Iterator[str]:
    """The forms in which the page may write a value of a row."""
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, str):
        yield from (found.group() for found in NUMBER.finditer(value))
        yield from NUMBER.findall(value[:12])
    else:
        for number in (value, 100 * value):
            for digits in (0, 1, 2, 4):
                yield from (f"{number:,.{digits}f}", f"{number:+,.{digits}f}")
        yield from (text.end(value), text.end(value, "+"), text.p_value(value))
        yield from (f"{value / 1000:,.1f}", f"{value / 1e9:.2f}", str(value))


def readers(results: Path) -> dict[str, Callable[[], Predictions]]:
    """Digest -> a function that reads the predictions kept beside the rows."""
    found: dict[str, Callable[[], Predictions]] = {}
    for r in read_from(results):
        path = predictions.file_beside(results, r)
        if r.predictions and path and path.is_file():
            found[r.predictions] = functools.partial(predictions.read, path, r)
    return found


@pytest.mark.parametrize("results", KEPT)
def test_every_number_on_the_page_comes_from_a_row_or_its_predictions(results: str) -> None:
    content = (ROOT / results).with_name("comparison.html").read_text()
    rows = read_from(ROOT / results)
    names = sorted({r.task for r in rows})
    figures = read_references([p for n in names for p in registry.task(n).references()])
    beside = figures_beside(rows, figures)
    # Values derived from the rows, as in comparison.csv: differences, intervals, p values, shares of the baseline.
    derived = tables.compared_records(rows, beside)
    said = [dataclasses.asdict(b) for b in behaviours(rows, readers(ROOT / results)).values()]
    shown = [*beside, *other_networks(figures)]
    published = [dataclasses.asdict(f) for f in shown]
    known = {n for f in shown for n in NUMBER.findall(f"{f.name} {f.as_published} {f.source}")}
    for value in leaves([*(r.record() for r in rows), *derived, *said, *published]):
        known.update(shown_as(value))
    csv = (ROOT / results).with_name("comparison.csv").read_text()
    for value in NUMBER.findall(csv):
        known.update(shown_as(float(value.replace(",", ""))))
    # The epoch of the highest accuracy.
    known.update(str(1 + r.curve.index(max(r.curve))) for r in rows if r.curve)
    reader = Texts()
    reader.feed(re.sub(r"<script.*?</script>", "", content, flags=re.S))
    found = [n for t in reader.texts for n in NUMBER.findall(t)]
    assert len(found) > 1000
    strange = {n for n in found if n not in known and n.lstrip("+-") not in known}
    assert strange == set()


def test_published_results_of_other_networks_are_marks_with_letters_and_not_rows(
    tmp_path: Path,
) -> None:
    named = "name,data,quantity,split,images,value,as_published,source\n"
    field = tmp_path / "field.csv"
    field.write_text(
        f"{named}<b>net</b>,cifar10,accuracy,test,10000,0.91,91 %,a page\n"
        "<b>net</b>,cifar10,file_bytes,,,300000,300 KB,a page\n"
    )
    rows = [row(BASE), pruned(flipped(BASE, 60, 50), file_bytes=200_000)]
    figures = read_references([PUBLISHED, field])
    content = page.page(tables.records(tables.compared(rows, figures)), rows, figures, {})
    file, gzip = data_of(content)["sections"][0][:2]
    assert file["data"]["marks"] == [{"x": 300, "y": 91, "tip": "<b>net</b>: 300 KB, 91 %"}]
    assert file["marks"] == ["A: <b>net</b>, 300 KB, 91 %"]
    assert [each["lines"] for each in file["layouts"][0]["marknames"]] == [["A"]]
    assert gzip["data"]["marks"] == gzip["marks"] == []
    assert "<li>A: &lt;b&gt;net&lt;/b&gt;, 300 KB, 91 %</li>" in content
    assert "net&lt;/b&gt;: 91 %, 300 KB. From: a page." in content
    assert "net&lt;/b&gt;, published" not in content


def test_points_of_the_picture_come_from_rows() -> None:
    content = (ROOT / "reports" / "comparison.html").read_text()
    rows = read_from(ROOT / "reports" / "results.jsonl")
    held = {
        (round(100 * r.top1, 6), round(100 * r.top1_low, 6), round(100 * r.top1_high, 6)): r for r in rows
    }  # fmt: skip
    files = [choices[0]["data"] for choices in data_of(content)["sections"]]
    points = [
        p for file in files for kind in ("others", "named", "best", "base") for p in file[kind]
    ]
    assert len(points) >= 18
    for p in points:
        assert (p["y"], p["low"], p["high"]) in held
    assert {p["x"] for p in points} <= {r.file_bytes / 1000 for r in rows}


def test_the_committed_page_is_made_from_the_committed_rows(tmp_path: Path) -> None:
    write_pages(ROOT / "reports" / "results.jsonl", tmp_path)
    kept, new = (
        re.sub(r"<script>.*?</script>|script-src [^;]*", "", path.read_text(), flags=re.S)
        for path in (ROOT / "reports" / "comparison.html", tmp_path / "comparison.html")
    )
    assert new == kept


def test_data_sets_beyond_the_maximum_number_of_sections_are_named() -> None:
    made_of = [
        row(bits(80 + i % 9, 100), data=f"set-{i:02}") for i in range(page.MOST_SECTIONS + 3)
    ]
    content = made(*made_of)
    assert (
        content.count('class="comparison"')
        == page.MOST_SECTIONS
        == len(data_of(content)["sections"])
    )
    told = re.findall(r"Left out, and in comparison.csv: ([^<]*)", content)
    assert told == ["set-20: 100 test images; set-21: 100 test images; set-22: 100 test images."]
