"""Write docs/measured/growth.md from growth.json, many_trials.json and search_workers.json: `python growth_page.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "measured" / "growth.md"
HEAD = """# How cost grows with work

The tables show seconds and peak memory of whole processes, including the start of TensorFlow. In each table one number
grows and the others stay the same. Another machine takes other times, but they grow with the work in the same way.
`python reports/benchmarks/growth_page.py` writes this page from the results that `growth.py`, `many_trials.py` and
`search_workers.py` of the [benchmarks](benchmarks.md) stored.
"""
WORKERS = """The benchmark runs sixteen trials of the toy task, which all cost the same. Each worker has a processor of
its own, and start-up time does not count. The ideal time of two workers is half the time of one worker. The last column
is the ideal time divided by the measured time; its median is {:.2f}. {}
"""
NOTES = {
    "width": "A network of twice the width has nearly four times as many weights and multiply-accumulates.\n",
}


def read(name: str) -> dict[str, Any]:
    """The stored result of a benchmark."""
    found: dict[str, Any] = json.loads((HERE / name).read_text())
    return found


def page() -> str:
    """The text of the page."""
    growth, trials, workers = map(read, ("growth.json", "many_trials.json", "search_workers.json"))
    lines = [HEAD]
    for group, counted in growth["counts"].items():
        lines += [
            f"## More {group}",
            "",
            f"| {counted} | seconds | peak memory, MB | extra seconds per unit above the first row |",
            "|---|---|---|---|",
        ]
        first, *_ = took = growth["took"][group]
        lines += [
            f"| {each['value']:,g} | {cost(each)} | {further(each, first)} |" for each in took
        ]
        lines += ["", NOTES[group]] if group in NOTES else [""]
    lines += [made(growth), "", f"## A search after {trials['trials']:,} trials", ""]
    lines += ["| `compress` | seconds | peak memory, MB |", "|---|---|---|"]
    lines += [
        f"| `{name}` | {cost(trials[name])} |" for name in ("search --status", "runs", "report")
    ]
    lines += ["", "| within one process | seconds |", "|---|---|"]
    lines += [f"| {name} | {seconds:g} |" for name, seconds in trials["seconds"].items()]
    lines += ["", f"The trials are made up; each has a run folder and a row. {made(trials)}", ""]
    lines += [
        "## A second worker",
        "",
        "| round | 1 worker, seconds per trial | 2 workers, seconds per trial | share of ideal |",
        "|---|---|---|---|",
    ]
    for number, each in enumerate(workers["rounds"], start=1):
        one, two = (
            each[k]["trial_seconds"] / each[k]["trials"] for k in ("1 workers", "2 workers")
        )
        lines.append(f"| {number} | {one:.2f} | {two:.2f} | {each['of_ideal']:.2f} |")
    lines += ["", WORKERS.format(workers["median_of_ideal"], made(workers))]
    return "\n".join(lines)


def cost(process: dict[str, float]) -> str:
    """Seconds and megabytes, as two cells."""
    return f"{process['seconds']:.1f} | {process['peak_memory_bytes'] / 1e6:,.0f}"


def further(process: dict[str, float], first: dict[str, float]) -> str:
    """Extra seconds per unit of work above the first process. They stay the same if growth is linear."""
    more = process["value"] - first["value"]
    return f"{(process['seconds'] - first['seconds']) / more:.3g}" if more else ""


def made(result: dict[str, Any]) -> str:
    """A sentence on the machine and the commit of a measurement."""
    return f"Measured on {result['machine']}, at commit {result['commit'][:12]}."


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
