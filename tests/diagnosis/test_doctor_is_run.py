"""A run agrees with the doctor about a stage and a model: it gives a file, or the same refusal before any work."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from compress import api
from compress.diagnosis.asked_task import view_without_data
from compress.diagnosis.diagnose import examined
from compress.pipelines.words import stages_of
from conftest import Silent
from support.layer_zoo import MODELS, STAGES, Handful

INT4, INT16, QAT = "quantize --scheme int4", "quantize --scheme int16x8", "qat --epochs"
# The other pairs take a quarter of an hour together.
IN_EVERY_RUN = {
    ("leaky relu", INT4), ("hard-swish", INT16), ("prelu", QAT), ("normalization", "prune --epochs"),
    ("squeeze and excitation", INT4), ("grouped", "prune-filters"),
}  # fmt: skip


def pairs() -> list[Any]:
    """Every model with every stage."""
    return [
        pytest.param(
            name,
            words,
            marks=()
            if any(name == n and words.startswith(begin) for n, begin in IN_EVERY_RUN)
            else pytest.mark.slow,
        )
        for name, words in itertools.product(MODELS, STAGES)
    ]


@pytest.mark.parametrize(("name", "words"), pairs())
def test_a_run_does_what_the_doctor_says(name: str, words: str, silent: Silent) -> None:
    model, stages, task = MODELS[name](), stages_of(words), Handful()
    (diagnosis,) = examined(model, stages, view_without_data(model, task))

    def run() -> Path:
        return api.run(
            stages, model=model, task=task, input_scale=1 / 255, out="runs", results="rows.jsonl",
            precision="float32", progress=silent,
        ).file  # fmt: skip

    if diagnosis.verdict != "no":
        assert run().suffix == ".tflite"
        assert {finding.why for finding in diagnosis.findings} <= set(silent.notes)
        return
    with pytest.raises(ValueError, match=" ") as refused:
        run()
    for finding in diagnosis.findings:
        assert finding.why in str(refused.value)
        assert finding.rewrite.removeprefix("--fix does it: ") in str(refused.value) or (
            finding.rewrite.startswith("no rewrite")
        )
    assert silent.rows == []
    assert not Path("rows.jsonl").exists()
