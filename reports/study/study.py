"""Ours beside scripts by hand: python study.py study.toml --data FOLDER --work WORK

Everything is made anew, or found again if an earlier try made it; a killed study goes on. It ends with study.csv and
study.md in the work folder: what each file has, and what parts it from ours on the same test images.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from compress import registry

HERE = Path(__file__).parent
OURS = "ours.jsonl"  # rows of ours, in the work folder
COLUMNS = ["seed", "by", "words", "top1", "file_bytes", "from_ours", "low", "high", "seconds"]


def main() -> None:
    asked = arguments()
    study = tomllib.loads(asked.study.read_text())
    asked.work.mkdir(parents=True, exist_ok=True)
    task = registry.task(asked.task)
    images = asked.work / "images.npz"
    if not images.exists():
        save(images, task.load(asked.data, print))
    model = asked.model or task.baseline_path()
    lines: list[dict[str, Any]] = []
    for seed in study["seeds"]:
        for match in study["match"][: asked.first]:
            ours, took = run(match["ours"], seed, model, asked)
            lines.append(line(ours, None, seed, "compress", match["ours"], took, asked))
            for words in match.get("controls", []):
                control, took = run(words, seed, model, asked)
                lines.append(line(control, ours, seed, "control", words, took, asked))
            for words in match.get("by_hand", []):
                made, took = by_hand(words, seed, images, model, asked.work)
                lines.append(line(made, ours, seed, "by hand", words, took, asked))
            write(lines, asked.work)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, help="TOML file of what is held against what")
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for files, runs and tables"
    )
    parser.add_argument("--data", type=Path, help="the task's data")
    parser.add_argument("--task", default="cifar10")
    parser.add_argument("--model", type=Path, help="the task's baseline if not given")
    parser.add_argument(
        "--first", type=int, help="only so many matches of the file; all if not given"
    )
    return parser.parse_args()


def save(path: Path, data: Any) -> None:
    """The splits to train on and to choose by, for scripts that know numpy alone."""
    np.savez(
        path,
        x_train=data.train.images,
        y_train=data.train.labels,
        x_validation=data.validation.images,
        y_validation=data.validation.labels,
    )


def compress(*words: str, **options: Any) -> str:
    """What a command of ours prints; its progress goes to standard error."""
    command = [sys.executable, "-m", "compress", *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def of_task(asked: argparse.Namespace) -> list[str]:
    return ["--task", asked.task, *(["--data", str(asked.data.absolute())] if asked.data else [])]


def run(words: str, seed: int, model: Path, asked: argparse.Namespace) -> tuple[Path, float]:
    """The file of a pipeline, and the seconds that its stages took."""
    given = [*of_task(asked), "--model", str(model.absolute()), "--seed", str(seed)]
    rows = json.loads(
        compress("run", *given, "--json", "--results", OURS, *shlex.split(words), cwd=asked.work)
    )
    (folder,) = (asked.work / "runs").glob(f"*-{rows[-1]['run'][:12]}")
    return folder / "model.tflite", sum(row["seconds"] for row in rows[1:])


def by_hand(words: str, seed: int, images: Path, model: Path, work: Path) -> tuple[Path, float]:
    """The file that a script writes, and its wall seconds, imports included. A file that is there is taken."""
    script, *options = shlex.split(words)
    name = "-".join([Path(script).stem, *(o.removeprefix("--") for o in options), f"seed{seed}"])
    out, took = work / f"{name}.tflite", work / f"{name}.seconds"
    if not took.exists():
        began = time.monotonic()
        command = [
            sys.executable,
            str(HERE / "by_hand" / script),
            str(images),
            str(model),
            str(out),
        ]
        # It goes by itself to Keras 2, which tfmot needs.
        subprocess.run([*command, "--seed", str(seed), *options], check=True)
        took.write_text(str(time.monotonic() - began))
    return out, float(took.read_text())


def line(
    file: Path,
    ours: Path | None,
    seed: int,
    by: str,
    words: str,
    took: float,
    asked: argparse.Namespace,
) -> dict[str, Any]:
    """A line of the table: what a file has, and, beside ours, the paired difference."""
    measured = json.loads(compress("evaluate", str(file), *of_task(asked), "--json"))
    found: dict[str, Any] = {"seed": seed, "by": by, "words": words, "seconds": took}
    found |= {name: measured[name] for name in ("top1", "file_bytes")}
    if ours is not None:
        pair = json.loads(compress("compare", str(file), str(ours), *of_task(asked), "--json"))
        found |= {"from_ours": pair["difference"], "low": pair["low"], "high": pair["high"]}
    return found


def write(lines: list[dict[str, Any]], work: Path) -> None:
    table = pd.DataFrame(lines).reindex(columns=COLUMNS).dropna(axis=1, how="all")
    table.to_csv(work / "study.csv", index=False)
    shown = table.assign(seconds=table["seconds"].map("{:.1f}".format))
    for name in ("top1", "from_ours", "low", "high"):
        if name in shown:
            shown[name] = (100 * shown[name]).map("{:.2f}".format).replace("nan", "")
    text = "\n".join(
        "| " + " | ".join(map(str, cells)) + " |"
        for cells in [
            shown.columns,
            ["---"] * len(shown.columns),
            *shown.fillna("").values.tolist(),
        ]
    )
    note = "Accuracy and differences in points; `from_ours` is paired on the same test images, with its interval."
    (work / "study.md").write_text(f"# Study\n\n{note}\n\n{text}\n\n{made_by(work)}\n")


def made_by(work: Path) -> str:
    """What the table was measured on, as the last row of ours says it; files by hand were measured by the same code."""
    row = json.loads((work / OURS).read_text().splitlines()[-1])
    versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
    return (
        f"Measured on the {row['test_images']:,} test images of {row['data']} ({row['splits']['test']:.12}), on "
        f"{row['machine']}, at commit {row['commit']:.12}, with {versions}."
    )


if __name__ == "__main__":
    main()
