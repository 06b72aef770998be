"""Pages: their content, and that tables keep their shape for any text in the rows."""

from __future__ import annotations

import csv
import io
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from compress.report import comparison_page, pages, tables
from compress.report.references import judgements, read_references
from compress.rows.result import Result
from compress.text import printable
from support.fresh_python import printed_by
from support.report_rows import PUBLISHED, bits, example, flipped, pruned, row

BASE = bits(9000)
HOSTILE = (
    "a|b\nc `d` </code><script>alert(1)</script> [x](http://y) $z$ | --- |\x1b[2J\u202e_e_ \\| ```"
)


def page(*rows: Result) -> str:
    figures = read_references([PUBLISHED])
    return comparison_page.comparison_page(tables.compared(rows, figures), figures)


def cells(markdown: str) -> list[list[str]]:
    """The rows of every table, each as the text that a reader sees in its cells."""
    found: list[list[str]] = []
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown)
    for before, token in pairwise(tokens):
        if before.type == "tr_open":
            found.append([])
        if before.type in ("td_open", "th_open"):
            children = token.children or []
            shown = [
                c.content for c in children if c.type in ("text", "code_inline", "text_special")
            ]
            found[-1].append("".join(shown))
    return found


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    import matplotlib

    first = pages.write_report(example(), [PUBLISHED], tmp_path / "first")
    with matplotlib.rc_context({"font.size": 20, "svg.hashsalt": "another", "savefig.dpi": 50}):
        second = pages.write_report(example(), [PUBLISHED], tmp_path / "second")
    assert [p.name for p in first] == [p.name for p in second]
    assert {p.name: p.read_bytes() for p in first} == {p.name: p.read_bytes() for p in second}


def test_a_report_consists_of_pages_numbers_and_pictures_only(tmp_path: Path) -> None:
    written = pages.write_report(example(), [PUBLISHED], tmp_path)
    assert [p.name for p in written] == [
        "comparison.md", "comparison.html", "comparison.csv", "accuracy_against_bytes.png",
        "accuracy_against_bytes.svg",
    ]  # fmt: skip
    assert sorted(tmp_path.iterdir()) == sorted(written)


def test_no_rows_write_nothing_and_name_a_command_to_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`compress run prune --sparsity 0\.5` makes some"):
        pages.write_report([], [PUBLISHED], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_hostile_label_does_not_break_a_table() -> None:
    tame = cells(page(row(BASE), pruned(flipped(BASE, 9, 5), label="prune")))
    made = pruned(flipped(BASE, 9, 5), label=HOSTILE, command=HOSTILE, machine=HOSTILE)
    found = cells(page(row(BASE), made))
    assert [len(r) for r in found] == [len(r) for r in tame]
    seen = printable(HOSTILE)
    assert sum(r[0] == seen for r in found) == 1


def test_hostile_text_adds_no_markup() -> None:
    made = pruned(BASE, label=HOSTILE, notes=[HOSTILE], commit=HOSTILE, data=HOSTILE)
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(page(row(BASE), made))
    assert "<script" not in html
    assert "http://y" not in html.replace("[x](http://y)", "")
    assert "<em>e</em>" not in html


def test_a_hostile_label_adds_no_markup_to_verdicts_over_seeds() -> None:
    def seeds(label: str, lost: int) -> list[Result]:
        return [pruned(flipped(BASE, lost + s, 5), seed=s, label=label) for s in (0, 1)]

    text = page(row(BASE), *seeds(HOSTILE, 9), *seeds("prune", 400))
    assert " is not shown: +3.91 points" in text or " over seeds: +3.91 points" in text
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert "<script" not in html
    assert "<em>e</em>" not in html


def test_a_hostile_published_file_does_not_break_the_page(tmp_path: Path) -> None:
    path = tmp_path / "published.csv"
    text = "<b>|x|</b>"
    path.write_text(
        "name,data,quantity,split,images,value,as_published,source\n"
        f"{text},cifar10,accuracy,test,100,0.5,{text},{text}\n"
    )
    figures = read_references([path])
    markdown = comparison_page.comparison_page(tables.compared([row(BASE)], figures), figures)
    assert "<b>" not in markdown
    assert f"{text}, published, test" in [r[0] for r in cells(markdown)]


def test_published_figures_are_listed_with_source_and_contradiction() -> None:
    notes = page(row(BASE), pruned(flipped(BASE, 60, 50))).split("## Notes")[1]
    assert "README that came with the original baseline CNN." in notes
    for sentence in judgements(read_references([PUBLISHED])):
        assert sentence in notes


def test_rows_of_other_data_are_not_compared_with_published_figures() -> None:
    same = page(row(BASE))
    sample = page(row(bits(880, 1000), data="cifar10-sample"))
    assert "cnn-118k, published, test" in same
    assert "published figures are for other data (cifar10), so no row here" in sample
    assert "cnn-118k, published, test" not in sample.split("## Measured on")[1]


def test_each_data_set_has_its_own_section_and_tables() -> None:
    text = page(*example())
    sections = text.split("## Notes")[0].split("## Measured on ")[1:]
    assert [s.split(":")[0] for s in sections] == ["cifar10", "cifar10-sample"]
    runs = [{r.run[:12] for r in example() if r.data == d} for d in ("cifar10", "cifar10-sample")]
    for section, own, other in zip(sections, runs, runs[::-1], strict=True):
        assert all(run in section for run in own)
        assert not any(run in section for run in other)


def test_a_section_has_its_answer_one_table_and_notes() -> None:
    section = page(*example()).split("## Measured on ")[1]
    assert section.split("\n\n")[1].startswith("**Ship prune --sparsity 0.5: 264.0 KB after gzip")
    assert section.count("\n| --- |") == 1
    assert "- prune --sparsity 0.5 over 2 seeds (0 1), mean and deviation: " in section


def test_decisions_of_a_stage_are_among_the_notes() -> None:
    decided = {"learning_rate": 0.02, "precision": "int8", "kept": ["a|b", 1]}
    made = pruned(BASE, recorded=decided, notes=["norm1 was left alone."])
    said = page(row(BASE), made).split("## Notes")[0]
    assert f"- {made.run[:12]}: norm1 was left alone. decided: " in said
    for part in ("learning_rate 0.02", "precision int8", 'kept &#91;"a&#124;b", 1&#93;'):
        assert part in said
    assert "decided" not in page(row(BASE))


def test_every_column_on_the_page_is_explained_in_its_notes() -> None:
    text = page(*example())
    notes = text.split("## Notes")[1]
    heads = {h for r in cells(text) for h in r if r[0] == "Model"}
    assert {h for h in heads if f"- **{h}**: " not in notes} == set()


def test_the_csv_has_the_numbers_of_the_rows(tmp_path: Path) -> None:
    pages.write_report(example(), [PUBLISHED], tmp_path)
    read = list(csv.DictReader(io.StringIO((tmp_path / "comparison.csv").read_text())))
    by_run = {r["run"]: r for r in read if r["run"]}
    assert set(by_run) == {r.run for r in example()}
    for made in example():
        kept = by_run[made.run]
        assert float(kept["top1"]) == pytest.approx(made.top1, rel=1e-11)
        assert int(kept["gzip_bytes"]) == made.gzip_bytes
        assert kept["label"] == made.label
    assert [r["top1"] for r in read if r["kind"] == "reference"] == ["0.9263", "0.8543"]


def test_a_failed_report_leaves_the_previous_one_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*words: object) -> str:
        raise ValueError("no page")

    pages.write_report(example(), [PUBLISHED], tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    monkeypatch.setattr(pages, "comparison_page", broken)
    with pytest.raises(ValueError, match="no page"):
        pages.write_report([row(BASE)], [PUBLISHED], tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_importing_the_report_imports_no_heavy_library() -> None:
    code = (
        "import sys, compress.report.pages, compress.statistics.significance\n"
        "heavy = {'pandas', 'matplotlib', 'altair', 'vl_convert', 'scipy', 'statsmodels', 'tensorflow', 'keras'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert printed_by(code) == "[]"


def test_without_published_figures_the_page_does_not_mention_them() -> None:
    text = comparison_page.comparison_page(tables.compared([row(BASE), pruned(BASE)], []), [])
    assert "ublished" not in text
    assert "not distinguishable" in text


FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1+1",
    "\r=1+1",
    " =1+1",
    "\n@A1",
    "\uff1d1+1",
    "=",
    "-",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_of_the_csv_is_a_spreadsheet_formula(text: str) -> None:
    rows = [
        row(
            BASE,
            [{"stage": text}],
            **dict.fromkeys(("label", "task", "data", "machine", "command", "commit"), text),
            notes=[text],
            versions={text: text},
        )
    ]
    written = pages.csv(tables.comparison(rows, [])).decode()
    (read,) = csv.DictReader(io.StringIO(written))
    texts = {name: read[name] for name, kind in tables.FIELDS.items() if kind == "string"}
    assert texts["label"].endswith(text.strip())
    for name, cell in texts.items():
        assert cell.isprintable(), name
        assert not cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d")), name


def test_text_that_is_not_a_formula_is_unchanged_in_the_csv() -> None:
    made = row(BASE, label="prune --sparsity 0.5 = half")
    (read,) = csv.DictReader(io.StringIO(pages.csv(tables.comparison([made], [])).decode()))
    assert read["label"] == "prune --sparsity 0.5 = half"
    assert read["top1"] == "0.9"


def test_numbers_in_the_csv_are_rounded_to_12_digits() -> None:
    made = pruned(bits(3333, 9999), cross_entropy=0.1 + 0.2)
    lines = pages.csv(tables.comparison([made], [])).decode().splitlines()
    assert len(lines) == 2
    assert ",0.333333333333," in lines[1]
    assert ",0.3," in lines[1]
