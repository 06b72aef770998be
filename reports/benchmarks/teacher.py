"""Measure the gain from the incoming model as a teacher: short trainings with and without it, on few images.

Usage: python reports/benchmarks/teacher.py MODEL TASK DATA [--images N] [--epochs N] [--seeds N] [STAGE ...]

A STAGE is written as after `compress run`. Both trainings of a pair begin with a learning-rate search and differ only
in --alpha. The script adds a record for each pair to teacher.json beside itself: the accuracy on the validation images,
in percent, before any training, after training without the teacher, and after training with it. It writes
docs/measured/teacher.md from all records.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

from compress import backend, registry
from compress.data.dataset import Split
from compress.files import write_json
from compress.keras_models.model import KerasModel
from compress.keras_models.rebuild import flattened
from compress.measurement.measure import predict
from compress.measurement.scores import top1
from compress.model_files.load import load_model
from compress.pipelines.words import stages_of
from compress.runs import provenance
from compress.stage import Stage
from compress.tasks import images
from compress.tasks.view import TaskView
from compress.training.progress_bars import Quiet
from compress.training.validation import judged

JUDGES = 2_000  # validation images
FILE = Path(__file__).with_name("teacher.json")
PAGE = FILE.parents[2] / "docs" / "measured" / "teacher.md"
KEY = ("model", "stage", "train_images", "epochs", "validation_images")
STAGES = (
    *("finetune", "prune --sparsity 0.5", "prune-filters --macs 0.5"),
    *("cluster --clusters 16", "qat --bits 4"),
)
HEAD = """# The gain from the incoming model as a teacher

Each row compares short trainings of one stage: without a teacher, and with the incoming model as the teacher
(`--teacher self`). Both trainings of a pair have the same seed, and each begins with its own learning-rate search.
Accuracies are on validation images, in percent. A gain is the accuracy with the teacher minus the accuracy without it,
in points. With few images, such as those of the bundled sample, `prune` uses the incoming model as its teacher if no
`--alpha` is given. None of the other stages on this page does that.

| model | stage | training images | epochs | validation images | before | without | with | gain | seeds |
|---|---|---|---|---|---|---|---|---|---|
"""
TAIL = """
On 2,000 images, chance alone moves an accuracy near 90 % by 1.3 points up or down (95 % interval); on 1,000 images, by
1.9 points. `python reports/benchmarks/teacher.py MODEL TASK DATA` adds rows. Measured at {commits}.
"""


def page() -> str:
    """The page, made from all stored records."""
    records: list[dict[str, Any]] = json.loads(FILE.read_text())
    pairs: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for record in records:
        key = tuple(record[name] for name in KEY)
        pairs.setdefault(key, []).append(record)
    lines = [HEAD]
    for (model, stage, shown, epochs, judges), seeds in pairs.items():
        before, without, taught = (
            sum(seed[name] for seed in seeds) / len(seeds)
            for name in ("before", "without_teacher", "with_teacher")
        )
        lines.append(
            f"| {model} | `{stage}` | {shown:,} | {epochs} | {judges:,} | {before:.2f} | {without:.2f} | {taught:.2f} "
            f"| {taught - without:+.2f} | {len(seeds)} |\n"
        )
    commits = sorted({f"commit {record['commit']:.12}" for record in records})
    lines.append(TAIL.format(commits=", ".join(commits)))
    return "".join(lines)


def percent(model: KerasModel, view: TaskView) -> float:
    """The accuracy on the validation images, in percent."""
    copy = model.copy().keras
    copy.compile(jit_compile=not backend.uses_tensorflow(backend.keras()))
    return round(100 * judged(copy, view.validation, view.task.input_scale).accuracy, 2)


def after(stage: Stage, alpha: float, model: KerasModel, view: TaskView, seed: int) -> float:
    stage = dataclasses.replace(stage, alpha=alpha)  # type: ignore[call-arg]
    made = stage.apply(model, dataclasses.replace(view, recorded={}), seed)
    if isinstance(made, KerasModel):
        return percent(made, view)
    scores = predict(made, view.validation.images, view.task.input_scale)
    return round(100 * top1(scores, view.validation.labels), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("task")
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=3400)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--input-scale", type=Fraction, help="as for compress, such as 1/255")
    parser.add_argument("stages", nargs="*", default=STAGES)
    asked = parser.parse_intermixed_args()
    task = registry.task(asked.task)
    data = task.load(asked.data, print)
    loaded = load_model(asked.model)
    if not isinstance(loaded, KerasModel):
        raise SystemExit(f"{asked.model} is a .tflite file; give a .keras or .h5 model.")
    model, _ = flattened(loaded)
    own = task.baseline_path()
    vouched = own is not None and own.name == asked.model.name
    scale = None if asked.input_scale is None else float(asked.input_scale)
    task, _ = images.suited(task, data, model, scale, vouched=vouched)
    few = Split(data.train.images[: asked.images], data.train.labels[: asked.images])
    judges = Split(data.validation.images[:JUDGES], data.validation.labels[:JUDGES])
    view = TaskView(task, few, judges, None, Quiet())
    for words in asked.stages:
        (stage,) = stages_of(f"{words} --epochs {asked.epochs}")
        for seed in range(asked.seeds):
            record = {
                "model": asked.model.name,
                "data": data.name,
                "stage": words,
                "train_images": len(few),
                "validation_images": len(judges),
                "epochs": asked.epochs,
                "seed": seed,
                "before": percent(model, view),
                "without_teacher": after(stage, 0.0, model, view, seed),
                "with_teacher": after(stage, 0.9, model, view, seed),
                "commit": provenance.commit(),
            }
            print(json.dumps(record), flush=True)
            kept = json.loads(FILE.read_text()) if FILE.exists() else []
            write_json(FILE, [*kept, record])
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
