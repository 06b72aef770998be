"""Compare a search with chains picked by hand, at equal time: `search_against_hand.py FOLDER_FOR_RUNS`.

It runs `compress search --max-flash 40KB --minutes M` on the default space. Each chain below gets the same number of
minutes and fills them with one training. Each contestant has one processor, and as many contestants run at a time as
there are processors. `compress search` measures every file on validation images, and at the end the best file once on
test images; a chain picked by hand is a search of one trial. It writes search_against_hand.json beside itself and
docs/measured/search.md from it.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from whole_process import keep, timed

HERE = Path(__file__).parent
RESULT = HERE / "search_against_hand.json"
PAGE = HERE.parents[1] / "docs" / "measured" / "search.md"
HEAD = """# A search against chains picked by hand

`compress search --max-flash {max_flash} --minutes {minutes:g}` searches the default space of its commit. A person would
pick the other chains from the [table of results](comparison.md). Each of these chains gets the same time as the
search and fills it with one training. The search and every chain run on one processor each. The data are {data}, seed
{seed}. The best file is chosen on validation images and measured once on test images.

| found by | command of the best file | bytes | validation | test, 95 % interval | trials |
|---|---|---|---|---|---|
"""
TAIL = """
The search finished {finished} trials and stopped {stopped} trials early. It skipped {refused} proposals, which were
refused before training or had been tried before. On validation images, its best file is {by:.2f} points {where}
the best file of the chains picked by hand.
`python reports/benchmarks/search_against_hand.py FOLDER_FOR_RUNS` writes this page. Measured on {machine},
at commit {commit:.12}.
"""
MAX_FLASH = "40KB"
# Chains that the reports of this repository suggest for 40 KB: the half-width student in 8 bits, and the baseline with
# as many filters removed as necessary, in 8 bits and in 4 bits. In 4 bits more filters fit.
BY_HAND = {
    "distill": "distill --student-width 0.5 --minutes {minutes} quantize",
    "prune-filters": "prune-filters --flash 40KB --minutes {minutes} quantize",
    "int4": "prune-filters --flash 40KB --minutes {minutes} quantize --scheme int4",
}
SEARCH = "search"
ON_TEST = ("data", "top1", "top1_low", "top1_high")  # fields of the row on test images


def words_of(name: str, folder: Path, asked: argparse.Namespace) -> list[str]:
    """The words of a contestant's command, without the program. The space of a chain is written into `folder`."""
    words = [
        "search",
        "--name",
        name,
        "--max-flash",
        MAX_FLASH,
        "--seed",
        str(asked.seed),
        "--json",
    ]
    if asked.data:
        words += ["--data", str(asked.data.resolve())]
    if name == SEARCH:
        return [*words, "--minutes", str(asked.minutes)]
    chain = BY_HAND[name].format(minutes=asked.minutes)
    (folder / "space.toml").write_text(f"chains = [{json.dumps(chain)}]\n")
    return [*words, "--space", "space.toml", "--trials", "1"]


def contest(name: str, asked: argparse.Namespace, free: queue.Queue[int]) -> dict[str, Any]:
    """Run one contestant on a free processor. Return its best trial, as `compress search` reports it, and its cost."""
    folder = asked.work / name
    folder.mkdir(parents=True, exist_ok=True)
    core = free.get()
    timed([sys.executable, "-m", "compress", *words_of(name, folder, asked)], folder, [core])
    free.put(core)
    log = (folder / "log.txt").read_text()
    found: dict[str, Any] = json.loads(log[log.rindex("\n{\n") :])
    if not found["best"]:
        raise SystemExit(f"{name} found nothing in {asked.minutes:g} minutes: {log[-2000:]}")
    print(name, found["best"], flush=True)
    return {
        "best": found["best"],
        "on_test": {key: found["on_test"][-1][key] for key in ON_TEST},
        "trials": {key: found[key] for key in ("finished", "stopped", "refused", "failed")},
        "trial_seconds": found["seconds"],
    }


def page() -> str:
    """The page, made from the stored result."""
    result: dict[str, Any] = json.loads(RESULT.read_text())
    lines = [HEAD.format(**result)]
    for name, each in result["contestants"].items():
        best, test = each["best"], each["on_test"]
        interval = f"{test['top1']:.2%} ({test['top1_low']:.2%} to {test['top1_high']:.2%})"
        by = "search" if name == SEARCH else "hand"
        lines.append(
            f"| {by} | `{best['stages']}` | {best['file_bytes']:,} | {best['top1']:.2%} | {interval} | "
            f"{each['trials']['finished'] + each['trials']['stopped']} |\n"
        )
    searched, *by_hand = (each["best"]["top1"] for each in result["contestants"].values())
    trials = result["contestants"][SEARCH]["trials"]
    by = 100 * (searched - max(by_hand))
    return "".join(
        [
            *lines,
            TAIL.format(**trials, **result, by=abs(by), where="above" if by > 0 else "below"),
            *([f"{result['note']}\n"] if "note" in result else []),
        ]
    )


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument(
        "work", type=Path, help="a folder for the runs; an unfinished contest goes on there"
    )
    words.add_argument("--data", type=Path, help="as for compress; the bundled sample if not given")
    words.add_argument("--minutes", type=float, default=40)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument(
        "--chain", action="append", choices=BY_HAND, help="the only one by hand; may be repeated"
    )
    asked = words.parse_args()
    chains = {name: text for name, text in BY_HAND.items() if name in (asked.chain or BY_HAND)}
    names = [SEARCH, *chains]
    free: queue.Queue[int] = queue.Queue()
    for core in sorted(os.sched_getaffinity(0)):
        free.put(core)
    with ThreadPoolExecutor(max_workers=free.qsize()) as pool:
        found = list(pool.map(lambda name: contest(name, asked, free), names))
    result = {
        "what": "the best file by a search and by chains picked by hand, at equal time on one processor each",
        "minutes": asked.minutes,
        "max_flash": MAX_FLASH,
        "seed": asked.seed,
        "data": found[0]["on_test"]["data"],
        "by_hand": chains,
        "contestants": dict(zip(names, found, strict=True)),
    }
    keep(RESULT, result)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
