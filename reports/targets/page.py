"""Write docs/measured/targets.md: the targets, which of them kept rows reach, and the hours of the rows.

`python reports/targets/page.py` also writes the README's headline, once a row reaches the goal of the first target.
"""

from __future__ import annotations

import itertools
import json
import re
import statistics
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from standing import best_row, curves_of, few_macs, is_within, top1_by_seed

from compress import zoo
from compress.report.plots import COLOURS, picture_of, save
from compress.rows.jsonl import read_from
from compress.rows.result import Result

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "measured" / "targets.md"
README = ROOT / "README.md"
HEADLINE = re.compile(r"(?<=<!-- headline -->\n).*?(?=<!-- /headline -->)", re.S)
HEAD = """# Targets

This project grew from a README that claims an accuracy of 92.63 % and a file of under 100 KB. This page shows how close
the kept rows come to meeting both claims, and to the other targets of the project. Accuracies are percentages of the
10,000 test images of CIFAR-10, with the 95 % interval. LiteRT runs the file that is measured. The floor is the lowest
result that is accepted. The goal is the result that is hoped for. `reached` names the higher of the two that the best
row meets. `python reports/targets/page.py` writes this page from `reports/targets/targets.toml` and the rows.
"""
NONE = "no row yet"
TRIED = 6  # rows listed at most for a target whose floor is not reached


def page() -> str:
    """The text of the page."""
    wanted = targets()
    parts = parts_of(wanted)
    rows = measured(parts)
    lines = [
        HEAD,
        "| target | floor | goal | reached | top-1, % | bytes | made by |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [best_line(target, rows) for target in wanted["best"]]
    lines += [
        "",
        "Each difference is in points: the mean over seeds, with the difference of each seed in brackets.",
        "",
    ]
    lines += [
        "| target | floor | goal | reached | points | made by | compared with |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [difference_line(target, rows) for target in wanted["difference"]]
    lines += ["", *below_the_floor(wanted, rows), "## Hours", ""]
    lines += [
        "Hours are those of the two-core machines that made these rows, often beside other work. "
        "Work whose rows were not kept does not count.",
        "",
    ]
    lines += ["| part | rows | hours |", "|---|---|---|"]
    lines += [f"| {what} | {len(kept)} | {hours(kept):.1f} |" for what, kept in parts.items()]
    everything = {row.run: row for kept in parts.values() for row in kept}
    lines += [
        f"| total, each run counted once | {len(everything)} | {hours([*everything.values()]):.1f} |",
        "",
    ]
    return "\n".join(lines)


def opening() -> str:
    """The headline of the README, about the first target."""
    wanted = targets()
    return headline(wanted["best"][0], measured(parts_of(wanted)))


def headline(target: dict[str, Any], rows: Sequence[Result]) -> str:
    """The sentence about the row that reaches the goal of a target; empty if none does."""
    best = best_row(target, rows)
    if best is None or 100 * best.top1 < target["goal"]:
        return ""
    where = f"{best.top1:.2%} of the {best.test_images:,} test images of CIFAR-10".replace(
        "%", " %"
    )
    names = [n for n, m in zoo.models().items() if m.row.get("tflite_digest") == best.tflite_digest]
    again = f" `compress verify zoo:{names[0]}` measures it again." if names else ""
    return f"**{where}, in one file of {best.file_bytes:,} bytes.**{again}\n"


def targets() -> dict[str, Any]:
    """The content of targets.toml."""
    return tomllib.loads((HERE / "targets.toml").read_text())


def parts_of(wanted: dict[str, Any]) -> dict[str, list[Result]]:
    """Part -> its rows."""
    return {part["what"]: rows_of(ROOT / part["rows"]) for part in wanted["part"]}


def measured(parts: dict[str, list[Result]]) -> list[Result]:
    """The rows of the first two parts that were measured on test images of CIFAR-10."""
    ours, of_zoo, *_ = parts.values()
    return [row for row in (*ours, *of_zoo) if row.data == "cifar10" and row.measured_on == "test"]


def rows_of(path: Path) -> list[Result]:
    """The rows of a JSON Lines file, or the rows beside the models of a folder."""
    if path.is_dir():
        kept = [json.loads(file.read_text())["result"] for file in sorted(path.glob("*.json"))]
        return [Result.from_record(row) for row in kept]
    return list(read_from(path))


def best_line(target: dict[str, Any], rows: Sequence[Result]) -> str:
    """The table line of the most accurate row that is within the limits of a target."""
    best = best_row(target, rows)
    what = f"| {target['what']} | {target['floor']:g} | {target['goal']:g} "
    if best is None:
        return f"{what}| {NONE} | | | |"
    top1 = f"{best.top1:.2%} ({best.top1_low:.1%} to {best.top1_high:.1%})".replace("%", "")
    more = "" if best.trained_on == "train" else f", trained on {best.trained_on}"
    reached = of(100 * best.top1, target)
    return f"{what}| {reached} | {top1} | {best.file_bytes:,} | `{best.label}`{more} |"


def difference_line(target: dict[str, Any], rows: Sequence[Result]) -> str:
    """The table line of the differences in accuracy between the rows of two labels, seed by seed."""
    what = f"| {target['what']} | {target['floor']:+g} | {target['goal']:+g} "
    model = f"--model {target['model']} " if "model" in target else ""
    labels = f"| `{model}{target['of']}` | `{target['over']}` |"
    one = top1_by_seed(target["of"], few_macs(target, rows))
    other = top1_by_seed(target["over"], rows)
    if target["over"] == "baseline" and other:
        other = dict.fromkeys(one, next(iter(other.values())))  # the same for every seed
    seeds = sorted(set(one) & set(other))
    if not seeds:
        return f"{what}| {NONE} | {labels}"
    points = [100 * (one[seed] - other[seed]) for seed in seeds]
    mean = statistics.mean(points)
    missing = target.get("seeds", 1) - len(seeds)
    reached = f"{missing} of {target['seeds']} seeds missing" if missing > 0 else of(mean, target)
    each = ", ".join(f"{value:+.2f}" for value in points)
    return f"{what}| {reached} | {mean:+.2f} ({each}) {labels}"


def below_the_floor(wanted: dict[str, Any], rows: Sequence[Result]) -> list[str]:
    """The section on rows that were tried for targets whose floor is not reached; empty if there are none."""
    missed = tried_for(wanted, rows)
    if not missed:
        return []
    lines = [
        "## Below the floor",
        "",
        "This section lists what was tried for each target whose floor is not reached, the best row first.",
        "",
    ]
    if curves_of(missed, rows):
        lines += [
            "![Accuracy on validation images after each epoch of the trainings that were tried](targets.svg)",
            "",
        ]
    for what, tried in missed.items():
        lines += [
            f"### {what.capitalize()}",
            "",
            "| top-1, % | bytes | seed | made by |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {100 * row.top1:.2f} | {row.file_bytes:,} | {row.seed} | `{made_by(row)}` |"
            for row in tried
        ]
        lines += [""]
    return lines


def made_by(row: Result) -> str:
    """The label of a row, with the model file that it began with, if that is not the baseline."""
    return f"--model {row.model_file} {row.label}" if row.model_file else row.label


def tried_for(wanted: dict[str, Any], rows: Sequence[Result]) -> dict[str, list[Result]]:
    """Target whose floor is not reached -> the most accurate rows that were tried for it."""
    missed = {}
    for target in wanted["best"]:
        best = best_row(target, rows)
        if best is None or 100 * best.top1 < target["floor"]:
            missed[target["what"]] = [row for row in rows if is_within(row, target)]
    for target in wanted["difference"]:
        if "**" in difference_line(target, rows):
            begins = target.get("tried_begin", target["of"])
            missed[target["what"]] = [
                row for row in few_macs(target, rows) if row.label.startswith(begins)
            ]
    each_run_once = {what: {r.run: r for r in tried}.values() for what, tried in missed.items()}
    return {
        what: sorted(tried, key=lambda row: -row.top1)[:TRIED]
        for what, tried in each_run_once.items()
        if tried
    }


def draw(curves: dict[str, list[float]]) -> None:
    """Draw learning curves into the picture of the page."""
    with picture_of(9, 5) as picture:
        axes = picture.subplots()
        for (label, curve), colour in zip(curves.items(), itertools.cycle(COLOURS), strict=False):
            axes.plot(range(1, len(curve) + 1), [100 * v for v in curve], color=colour, label=label)
        axes.set(xlabel="Epoch", ylabel="Top-1 on validation images, %")
        picture.legend(loc="outside lower left", fontsize=6)
        save(picture, PAGE.with_suffix(""))


def of(value: float, target: dict[str, Any]) -> str:
    """The level of a target that a value reaches."""
    if value < target["floor"]:
        return "**not the floor**"
    return "goal" if value >= target["goal"] else "floor"


def hours(rows: Sequence[Result]) -> float:
    """The hours that the last stages of rows took."""
    return sum(row.seconds for row in rows) / 3600


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    kept = measured(parts_of(targets()))
    if curves := curves_of(tried_for(targets(), kept), kept):
        draw(curves)
    README.write_text(HEADLINE.sub(lambda _: opening(), README.read_text("utf-8")), "utf-8")
