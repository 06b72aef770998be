"""Run every stage on every model of this folder: `python every_stage.py CIFAR_FOLDER WORK [--epochs 1]`."""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cifar
import numpy as np

HERE = Path(__file__).parent
# Model -> data, options for the scaling of pixels, and an untrained model of half the width.
MODELS = {
    "residual.keras": ("cifar.npz", "", "residual-half.keras"),
    "vehicles.h5": ("vehicles.npz", "--mean 0.5 --std 0.5", "vehicles-half.h5"),
    "digits.keras": ("digits.npz", "--input-scale 1/255", "digits-half.keras"),
    "vowels.keras": ("vowels.npz", "", "vowels-half.keras"),
}
STAGES = (
    *("finetune", "quantize", "quantize --scheme int4", "prune", "prune-filters", "qat"),
    *("cluster", "distill --student {student}", "quantize --scheme int16x8", "quantize encode"),
)


def main() -> None:
    wanted = arguments()
    wanted.work.mkdir(parents=True, exist_ok=True)
    prepare(wanted.cifar, wanted.work)
    failed = []
    for stage in [s for s in STAGES if not wanted.stage or s.split()[0] in wanted.stage]:
        for model in wanted.model or MODELS:
            data, pixels, student = MODELS[model]
            words = [*stage.format(student=student).split(), *budget(stage, wanted)]
            words += ["--task", "images", "--data", data, "--model", model, *pixels.split()]
            words = ["compress", "run", *words, "--results", "results.jsonl"]
            print("\n$", shlex.join(words), flush=True)
            code = subprocess.run([sys.executable, "-m", *words], cwd=wanted.work).returncode
            failed += [f"exit code {code}: {shlex.join(words)}"] * (code != 0)
    print("\nNot done:" * bool(failed), *failed, sep="\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cifar", type=Path, help="folder of the binary batches of CIFAR-10")
    parser.add_argument("work", type=Path, help="folder for data, runs, rows and report")
    parser.add_argument(
        "--epochs", help="of every training; the default of each stage if not given"
    )
    parser.add_argument("--minutes", help="for every training, in place of epochs")
    parser.add_argument("--model", action="append", choices=MODELS, help="only this; repeatable")
    parser.add_argument(
        "--stage", action="append", metavar="NAME", help="only this stage; repeatable"
    )
    return parser.parse_args()


def budget(stage: str, wanted: argparse.Namespace) -> list[str]:
    trains = not stage.startswith("quantize")
    words = ["--epochs", wanted.epochs] if wanted.epochs else []
    words += ["--minutes", wanted.minutes] if wanted.minutes else []
    return words if trains else []


def prepare(folder: Path, work: Path) -> None:
    """Copy the models, and write the data files that are missing."""
    for file in (HERE / "models").iterdir():
        shutil.copy(file, work)
    if not (work / "cifar.npz").exists():
        np.savez(work / "cifar.npz", **cifar.read(folder))
    if not (work / "vehicles.npz").exists():
        import vehicles

        np.savez(work / "vehicles.npz", **vehicles.vehicles(folder))
    if not (work / "digits.npz").exists():
        import digits

        np.savez(work / "digits.npz", **digits.digits())
    if not (work / "vowels.npz").exists():
        import vowels

        np.savez(work / "vowels.npz", **vowels.vowels())


if __name__ == "__main__":
    main()
