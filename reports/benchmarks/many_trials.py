"""Measure the commands on a search after many trials: `python reports/benchmarks/many_trials.py [TRIALS]`.

The trials and their run folders are made up and stored in a temporary folder: a database as a search writes it, with
one objective and one limit, and a folder with a manifest for each trial. The script writes seconds and memory to
many_trials.json beside itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import many_rows
import numpy as np
from whole_process import keep, timed

from compress.files import write_json
from compress.runs.folder import RunFolder
from compress.search.definition import Definition
from compress.search.space import CHAIN
from compress.search.standing import RESULT, WORDS, standing
from compress.search.storage import EXCESSES, open_study

HERE = Path(__file__).parent
SPACE = {"chains": ["prune quantize"], "prune": {"sparsity": {"low": 0.2, "high": 0.9}}}
SEARCH = Definition(
    name="many",
    space=SPACE,
    objectives=("top1",),
    limits={"flash": 400_000},
    options={"seed": 0, "task": "toy"},
    trials=1_000_000,
)


def folder_of(row: dict[str, Any]) -> str:
    """The name of the run folder of a row, in the form that runs use."""
    return f"prune-{row['run'][:12]}"


def made_up(count: int) -> list[dict[str, Any]]:
    """Rows measured on validation images, as in the run folders of trials."""
    rng = np.random.default_rng(0)
    base = rng.random(many_rows.IMAGES) < 0.9
    rows: list[dict[str, Any]] = [many_rows.row(i + 1, rng, base) for i in range(count)]
    return [{**row, "measured_on": "validation"} for row in rows]


def fill(study: Any, rows: list[dict[str, Any]]) -> None:
    """Add a finished trial to the study for each row."""
    import optuna

    distributions = {
        CHAIN: optuna.distributions.CategoricalDistribution(SPACE["chains"]),
        "prune.sparsity": optuna.distributions.FloatDistribution(0.2, 0.9),
    }
    for row in rows:
        sparsity = 0.2 + 0.7 * row["sparsity"]
        facts = {
            k: row.get(k) for k in ("run", "top1", "top1_low", "top1_high", "file_bytes", "macs")
        }
        attributes = {
            WORDS: f"prune --sparsity {sparsity} quantize",
            RESULT: {**facts, "folder": folder_of(row)},
            EXCESSES: [row["file_bytes"] / 400_000 - 1],
        }
        study.add_trial(
            optuna.create_trial(
                params={CHAIN: SPACE["chains"][0], "prune.sparsity": sparsity},
                distributions=distributions,
                values=[row["top1"]],
                user_attrs=attributes,
                system_attrs={"constraints": attributes[EXCESSES]},
            )
        )


def seconds_of(act: Callable[[], object]) -> float:
    """The seconds of one call."""
    began = time.perf_counter()
    act()
    return round(time.perf_counter() - began, 3)


def build(count: int, folder: Path) -> None:
    """Make trials and folders, and print, as JSON, the seconds of operations on them within one process."""
    warnings.simplefilter("ignore")  # Optuna warns of trials outside its own loop
    rows, out = made_up(count), folder / "runs"
    SEARCH.save(out)
    study = open_study(SEARCH, out)
    filled = seconds_of(lambda: fill(study, rows))
    for row in rows:
        write_json(out / folder_of(row) / "manifest.json", {"result_on_validation": row})
        (out / folder_of(row) / ".lock").touch()
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    again = open_study(SEARCH, out)
    took = {
        "add a trial": round(filled / count, 5),
        "read all trials": seconds_of(lambda: again.get_trials(deepcopy=False)),
        "best and front": seconds_of(lambda: standing(again, SEARCH)),
    }
    trial = again.ask()
    took["a proposal"] = seconds_of(lambda: trial.suggest_float("prune.sparsity", 0.2, 0.9))
    took["find a run"] = seconds_of(lambda: RunFolder.named(out, f"else-{rows[-1]['run'][:12]}"))
    print(json.dumps(took))


def main(count: int) -> None:
    # In a separate process, because memory that a process holds when it starts another counts for that one too.
    with tempfile.TemporaryDirectory() as name:
        folder, words = Path(name), [sys.executable, "-m", "compress"]
        call = f"import many_trials, pathlib; many_trials.build({count}, pathlib.Path({name!r}))"
        built = subprocess.run(
            [sys.executable, "-c", call], cwd=HERE, check=True, capture_output=True, text=True
        )
        took = {
            "seconds": json.loads(built.stdout.splitlines()[-1]),
            "search --status": timed([*words, "search", "--status", "many", "--json"], folder),
            "runs": timed([*words, "runs", "--json"], folder),
            "report": timed([*words, "report", "--results", "rows.jsonl"], folder),
        }
    result = {
        "what": "a search after many made-up trials",
        "trials": count,
        **took,
    }
    keep(HERE / "many_trials.json", result)
    print(json.dumps(took, indent=2))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
