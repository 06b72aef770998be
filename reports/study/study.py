"""Compare `compress` with scripts written by hand: `python study.py study.toml --data FOLDER --work WORK`.

A finished match is stored as a line of study.jsonl in the folder of results, so that a killed study resumes there.
study.csv and study.md are made from all lines: the measurements of each file, and its difference from the file of
`compress` on the same test images. To measure a match again, delete its line. A finished match counts only for the same
model file, data and options of pixels. Older lines do not have these; they count for their test images.
"""

from __future__ import annotations

import argparse
import functools
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

from compress import files, registry
from compress.data.dataset import Dataset
from compress.measurement.measure import digest_of_test

HERE = Path(__file__).parent
OURS = "ours.jsonl"  # rows of `compress`, in the work folder
KEPT = "study.jsonl"  # finished matches, in the folder of results
COLUMNS = ["model", "seed", "by", "words", "top1", "file_bytes", "from_ours", "low", "high", "seconds"]  # fmt: skip


def main() -> None:
    asked = arguments()
    study = tomllib.loads(asked.study.read_text())
    results = asked.results or asked.work
    for folder in (asked.work, results):
        folder.mkdir(parents=True, exist_ok=True)
    task = registry.task(asked.task)
    model = asked.model or task.baseline_path()
    given = inputs(model, asked)
    for seed in study["seeds"]:
        for match in study["match"][: asked.first]:
            key = {"task": task.name, "model": model.name, "seed": seed, "match": match}
            if any(is_finished(each, key, given) for each in kept(results)):
                continue
            lines = [{"model": model.name, **each} for each in measured(match, seed, model, asked)]
            with (results / KEPT).open("a") as file:
                new = {**key, "lines": lines, "made": made(asked.work, given), "inputs": given}
                file.write(json.dumps(new) + "\n")
            write(results)


def kept(results: Path) -> list[dict[str, Any]]:
    """The finished matches."""
    file = results / KEPT
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def is_finished(line: dict[str, Any], key: dict[str, Any], given: dict[str, Any]) -> bool:
    """True if a line of study.jsonl is that match with these inputs."""
    if any(line[name] != value for name, value in key.items()):
        return False
    if "inputs" in line:
        return bool(line["inputs"] == given)
    return f"({given['test'][:12]})" in line["made"]


def measured(
    match: dict[str, Any], seed: int, model: Path, asked: argparse.Namespace
) -> list[dict[str, Any]]:
    """The lines of a match: the file of `compress`, its controls, and the files of scripts by hand."""
    ours, took = run(match["ours"], seed, model, asked)
    lines = [line(ours, None, seed, "compress", match["ours"], took, asked)]
    for words in match.get("controls", []):
        control, took = run(words, seed, model, asked)
        lines.append(line(control, ours, seed, "control", words, took, asked))
    for words in match.get("by_hand", []):
        done, took = by_hand(words, seed, model, asked)
        lines.append(line(done, ours, seed, "by hand", words, took, asked))
    return lines


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, help="TOML file of what is held against what")
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for files, runs and tables"
    )
    parser.add_argument(
        "--results", type=Path, help="folder of study.jsonl and the tables; WORK if not given"
    )
    parser.add_argument("--data", type=Path, help="the task's data")
    parser.add_argument("--task", default="cifar10")
    parser.add_argument("--model", type=Path, help="the task's baseline if not given")
    parser.add_argument(
        "--scale",
        type=float,
        default=1 / 255,
        help="of pixels, for scripts by hand; 1/255 if not given",
    )
    parser.add_argument("--mean", type=float, help="taken from scaled pixels; 0 if not given")
    parser.add_argument("--std", type=float, help="they are divided by it; 1 if not given")
    parser.add_argument(
        "--first", type=int, help="only so many matches of the file; all if not given"
    )
    return parser.parse_args()


@functools.cache
def data_of(task: str, path: Path | None) -> Dataset:
    """The data of a task. They are read only once."""
    return registry.task(task).load(path, print)


def inputs(model: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Everything besides the match that its result depends on: digests of the model file and of the splits, options."""
    data = data_of(asked.task, asked.data)
    splits = {"train": data.train.digest, "validation": data.validation.digest}
    pixels = {"scale": asked.scale, "mean": asked.mean, "std": asked.std}
    return {"model": files.sha256(model), **splits, "test": digest_of_test(data), **pixels}


def images_of(asked: argparse.Namespace) -> Path:
    """A NumPy file of the train and validation splits, for scripts that do not use this toolkit."""
    data = data_of(asked.task, asked.data)
    path: Path = asked.work / f"images-{data.train.digest[:12]}-{data.validation.digest[:12]}.npz"
    if path.exists():
        return path
    np.savez(
        path,
        x_train=data.train.images,
        y_train=data.train.labels,
        x_validation=data.validation.images,
        y_validation=data.validation.labels,
    )
    return path


def compress(*words: str, **options: Any) -> str:
    """Run a command of `compress` and return what it prints. Its progress goes to standard error."""
    command = [sys.executable, "-m", "compress", *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def of_task(asked: argparse.Namespace) -> list[str]:
    data = ["--data", str(asked.data.absolute())] if asked.data else []
    return ["--task", asked.task, *data, *of_pixels(asked)]


def of_pixels(asked: argparse.Namespace) -> list[str]:
    """Options for the mean and the standard deviation of scaled pixels, the same for `compress` and scripts by hand."""
    given = {"--mean": asked.mean, "--std": asked.std}
    return [
        word for name, value in given.items() if value is not None for word in (name, str(value))
    ]


def run(words: str, seed: int, model: Path, asked: argparse.Namespace) -> tuple[Path, float]:
    """The file of a pipeline, and the seconds that its stages took."""
    given = [*of_task(asked), "--model", str(model.absolute()), "--seed", str(seed)]
    rows = json.loads(
        compress("run", *given, "--json", "--results", OURS, *shlex.split(words), cwd=asked.work)
    )
    (folder,) = (asked.work / "runs").glob(f"*-{rows[-1]['run'][:12]}")
    return folder / "model.tflite", sum(row["seconds"] for row in rows[1:])


def by_hand(words: str, seed: int, model: Path, asked: argparse.Namespace) -> tuple[Path, float]:
    """The file that a script writes, and the script's wall seconds with imports. A finished script is not run again."""
    script, *options = shlex.split(words)
    work = asked.work
    given = inputs(model, asked)
    names = [Path(script).stem, *(o.removeprefix("--") for o in options), f"seed{seed}"]
    names += [model.name, given["model"][:12], "inputs", files.digest(given)[:12]]
    name = "-".join(names)
    out, took = work / f"{name}.tflite", work / f"{name}.seconds"
    if not took.exists():
        command = [sys.executable, HERE / "by_hand" / script, images_of(asked), model, out]
        # No environment variable is needed: the script itself uses Keras 2, which tfmot needs.
        pixels = ["--scale", str(asked.scale), *of_pixels(asked)]
        began = time.monotonic()
        subprocess.run([*map(str, command), "--seed", str(seed), *pixels, *options], check=True)
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
    """A line of the table: the measurements of a file and, if `ours` is given, the paired difference from it."""
    measured = json.loads(compress("evaluate", str(file), *of_task(asked), "--json"))
    found: dict[str, Any] = {"seed": seed, "by": by, "words": words, "seconds": took}
    found |= {name: measured[name] for name in ("top1", "file_bytes")}
    if ours is not None:
        pair = json.loads(compress("compare", str(file), str(ours), *of_task(asked), "--json"))
        found |= {"from_ours": pair["difference"], "low": pair["low"], "high": pair["high"]}
    return found


def write(results: Path) -> None:
    """Write study.csv and study.md from all finished matches."""
    matches = kept(results)
    lines = [line for match in matches for line in match["lines"]]
    table = pd.DataFrame(lines).reindex(columns=COLUMNS).dropna(axis=1, how="all")
    table.to_csv(results / "study.csv", index=False)
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
    note = (
        "Accuracies are in percent, differences are in points. `from_ours` is the paired difference from the file of "
        "`compress` on the same test images; `low` and `high` are its interval. Seconds of `compress` are the time of "
        "its stages. Seconds of a script by hand are the time of the whole script, including imports and conversion."
    )
    made_by = "\n".join(dict.fromkeys(match["made"] for match in matches))
    (results / "study.md").write_text(f"# Study\n\n{note}\n\n{text}\n\n{made_by}\n")


def made(work: Path, given: dict[str, Any]) -> str:
    """A sentence on the data, the machine and the versions of a match, from the last row on these data."""
    rows = map(json.loads, (work / OURS).read_text().splitlines())
    *_, row = (row for row in rows if row["splits"]["test"] == given["test"])
    versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
    return (
        f"Measured on the {row['test_images']:,} test images of {row['data']} ({row['splits']['test']:.12}), on "
        f"{row['machine']}, at commit {row['commit']:.12}, with {versions}."
    )


if __name__ == "__main__":
    main()
