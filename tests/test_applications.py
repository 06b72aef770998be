"""Well-known architectures: the page agrees with the doctor, and small models run through every stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress import api
from compress.diagnosis.asked_task import view_without_data
from compress.diagnosis.diagnose import examined
from compress.pipelines.words import stages_of
from conftest import Silent
from support.fresh_python import ROOT
from support.scripts import load_script

RUNS = (
    "prune --epochs 1",
    "prune-filters --macs 0.25 --epochs 1",
    "cluster --clusters 4 --epochs 1",
    "finetune --epochs 1",
    "qat --epochs 1 --calibration 4",
    "qat --bits 4 --epochs 1 --calibration 4",
    "quantize --scheme int8 --calibration 4",
    "quantize --scheme int4 --calibration 4",
    "quantize --scheme int16x8 --calibration 4",
    "quantize --scheme float16",
    "quantize --scheme dynamic",
)


def script() -> Any:
    """The module that writes the page."""
    return load_script(ROOT / "docs/architectures.py")


def images() -> Path:
    """Write a file of a few noise images in ten classes."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 64), ("validation", 20), ("test", 20)):
        arrays[f"x_{part}"] = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
        arrays[f"y_{part}"] = np.arange(n) % 10
    np.savez("noise.npz", **arrays)
    return Path("noise.npz")


@pytest.mark.slow
def test_a_section_of_the_page_is_the_output_of_the_script() -> None:
    module = script()
    assert module.section("MobileNet") in module.PAGE.read_text()


def test_the_page_has_every_family_and_a_table_made_from_the_sections() -> None:
    module = script()
    page = module.PAGE.read_text()
    sections = [f"## {text}" for text in page.split("## ")[1:]]
    assert [text.splitlines()[0] for text in sections] == [f"## {name}" for name in module.FAMILIES]
    assert page.startswith(module.HEAD)
    assert module.table(sections) in page


@pytest.mark.slow
@pytest.mark.parametrize(("family", "alpha"), [("MobileNet", 0.25), ("MobileNetV2", 0.35)])
@pytest.mark.parametrize("words", RUNS)
def test_a_small_model_runs_through_each_stage(
    family: str, alpha: float, words: str, silent: Silent
) -> None:
    model = script().model_of(family, alpha=alpha)
    (diagnosis,) = examined(model, stages_of(words), view_without_data(model))
    assert diagnosis.verdict != "no"
    ran = api.run(
        words, model=model, task="images", data=images(), input_scale=1 / 255, out="runs",
        results="rows.jsonl", precision="float32", progress=silent,
    )  # fmt: skip
    assert ran.file.suffix == ".tflite"
    assert {finding.why for finding in diagnosis.findings} <= set(silent.notes)
