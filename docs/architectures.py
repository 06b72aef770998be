"""Write architectures.md: the doctor's findings for known families. `python docs/architectures.py [FAMILY ...]`."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compress import backend
from compress.diagnosis.asked_task import view_without_data
from compress.diagnosis.diagnose import Diagnosis, examined
from compress.keras_models.model import KerasModel
from compress.pipelines.words import stages_of

PAGE = Path(__file__).with_name("architectures.md")
# Family of keras.applications -> the side of its images in pixels: 32, or more if it needs more.
FAMILIES = {
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "EfficientNetB0": 32,
    "ResNet50": 32,
    "DenseNet121": 32,
    "Xception": 71,
}
STAGES = (
    "prune", "prune-filters", "cluster", "finetune", "distill", "qat", "qat --bits 4", "quantize --scheme int8",
    "quantize --scheme int4", "quantize --scheme int16x8", "quantize --scheme float16", "quantize --scheme dynamic",
)  # fmt: skip
HEAD = """# Well-known architectures

This page shows what `compress doctor` says about seven families of `keras.applications`, for each stage at its
defaults. The models have random weights and 10 classes. The images have 32x32 pixels, or 71x71 pixels for Xception,
which takes no smaller ones. The verdicts are the same for trained weights. `distill` needs `--student FILE`, because a
task of your own images has no network from which to build a student. `python docs/architectures.py` writes this page,
and a test makes a part of the page again.
"""


def model_of(family: str, **options: Any) -> KerasModel:
    """A model of a family, with layer names as in a new process."""
    keras, side = backend.keras(), FAMILIES[family]
    keras.backend.clear_session()
    build = getattr(keras.applications, family)
    return KerasModel(build(weights=None, classes=10, input_shape=(side, side, 3), **options))


def section(family: str) -> str:
    """The doctor's findings for a family, as a section of the page."""
    model = model_of(family)
    stages = [stage for words in STAGES for stage in stages_of(words)]
    diagnoses = examined(model, stages, view_without_data(model))
    layers, params = len(model.keras.layers), model.params
    lines = [
        f"## {family}",
        "",
        f"{layers} layers, {params:,} parameters.",
        "",
        "| stage | verdict | why |",
    ]
    lines += ["|---|---|---|", *map(_line, STAGES, diagnoses)]
    return "\n".join(lines) + "\n"


def _line(words: str, diagnosis: Diagnosis) -> str:
    told = [f"{finding.why} {finding.rewrite}".strip() for finding in diagnosis.findings]
    return f"| `{words}` | {diagnosis.verdict} | {' '.join(told).replace('|', ' or ')} |"


def table(sections: Sequence[str]) -> str:
    """The verdicts of all sections, one column per family."""
    names = [re.findall(r"^## (.*)", text)[0] for text in sections]
    verdicts = [
        {
            words: f"{verdict}, repaired by `--fix`" if "--fix does it" in why else verdict
            for words, verdict, why in re.findall(r"^\| `(.*?)` \| (.*?) \|(.*)", text, re.M)
        }
        for text in sections
    ]
    lines = [f"| stage | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| `{w}` | {' | '.join(of[w] for of in verdicts)} |" for w in STAGES]
    return "\n".join(lines) + "\n"


def main(families: Sequence[str]) -> None:
    """Rewrite the sections of these families and the table; the other sections stay unchanged."""
    page = PAGE.read_text() if PAGE.exists() else ""
    old = {re.findall(r"^## (.*)", text)[0]: text for text in re.findall(r"## [^#]*", page)}
    sections = [
        section(family) if family in families else old[family].rstrip() + "\n"
        for family in FAMILIES
        if family in families or family in old
    ]
    PAGE.write_text("\n".join([HEAD, table(sections), *sections]))


if __name__ == "__main__":
    main(sys.argv[1:] or list(FAMILIES))
