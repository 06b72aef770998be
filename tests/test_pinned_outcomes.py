"""The arithmetic of training, of export and of every stage is unchanged since its version was last raised.

Runs are reused by version, not by source code: `compress/runs/keys.py`. If you change what a training or a stage
computes, or the default of an option, raise the version beside it; otherwise old runs would be reused as if they were
new ones. These tests compare tiny runs with their outcomes at the last raise of the version, in golden/outcomes/.

If you change the network or the options of these tiny runs, but not the tested code, delete and rewrite the files.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress import backend, registry
from compress.keras_models.model import KerasModel
from compress.runs.keys import EXPORT_LIBRARIES, TRAINING_LIBRARIES
from compress.runs.provenance import version_of
from compress.stage import Stage
from compress.stages import quantize
from compress.stages.cluster import Cluster
from compress.stages.distill import Distill
from compress.stages.encode import Encode
from compress.stages.finetune import Finetune
from compress.stages.prune import Prune
from compress.stages.prune_filters import PruneFilters
from compress.stages.qat import Qat
from compress.stages.quantize import Quantize
from compress.tflite import convert
from compress.tflite.model import TFLiteModel
from compress.training import fit, recovery, views
from compress.training.recipe import Recipe
from support.pinned_task import FINETUNING, RECIPES, Pinned, short, summary, view

FOLDER = Path(__file__).parent / "golden" / "outcomes"
UPDATE = "pytest tests/test_pinned_outcomes.py --update-golden"
SEED = 3
# Fractions of a standard deviation. Other processors and TensorFlow kernels differ by 2e-6; in integer files, a
# weight that is rounded the other way makes a larger difference.
FLOAT, INTEGER = 1e-4, 1e-2
LOUD = {"epochs": 2, "learning_rate": 0.03}  # makes small changes visible
STAGES: dict[str, Sequence[Stage]] = {
    "cluster": [Cluster(clusters=4, **LOUD), Cluster(clusters=4, initialization="linear", epochs=0)],
    "distill": [Distill(student_width=0.5, epochs=2)],
    "encode": [Encode(proof=4)],
    "finetune": [Finetune(**LOUD)],
    "prune": [
        Prune(alpha=0.3, **LOUD),
        Prune(scope="global", epochs=0, renew_statistics=True),
        Prune(pattern="2:4", epochs=0),
    ],
    "prune-filters": [
        PruneFilters(macs=0.5, **LOUD),
        PruneFilters(filters=0.4, criterion="l1", scope="layer", epochs=0),
    ],
    "qat": [Qat(calibration=16, epochs=2, learning_rate=0.005)],
    "quantize": [
        Quantize(scheme=scheme, calibration=16) for scheme in quantize.FORMATS
    ],
}  # fmt: skip
NAMES = ("train", "export", *STAGES)

Pin = dict[str, Any]


@pytest.fixture(scope="module")
def start() -> KerasModel:
    # On a GPU, convolutions would otherwise use numbers with ten bits of mantissa.
    backend.tensorflow().config.experimental.enable_tensor_float_32_execution(False)
    return KerasModel(Pinned().build())


def pin_of(name: str, start: KerasModel) -> Pin:
    """The pin of a name: its versions, defaults, libraries and computed outcomes."""
    if name == "train":
        outcomes = {recipe: trained(RECIPES[recipe], start) for recipe in RECIPES}
        versions = {"training.fit.VERSION": fit.VERSION, "training.views.VERSION": views.VERSION}
        return pin(versions, TRAINING_LIBRARIES, Recipe, outcomes)
    export = {"tflite.convert.EXPORT_VERSION": convert.EXPORT_VERSION}
    if name == "export":
        outcomes = {"float32": summary(start.to_tflite(), start)}
        return pin(export, EXPORT_LIBRARIES, None, outcomes)
    stages, cls = STAGES[name], type(STAGES[name][0])
    versions = {f"{cls.__name__}.version": cls.version}
    if cls.trains:
        versions |= {"training.fit.VERSION": fit.VERSION}
    if "learning_rate" in {field.name for field in dataclasses.fields(cls)}:
        versions |= {"training.recovery.VERSION": recovery.VERSION}
    versions |= export if cls.gives == "tflite" else {}
    incoming = pruned_file(start) if cls.takes == "tflite" else start
    outcomes = {
        " ".join(s.argv()): summary(s.apply(incoming, view(), SEED), start)  # type: ignore[arg-type]
        for s in stages
    }
    libraries = {library for stage in stages for library in stage.libraries()}
    return pin(versions, libraries, cls, outcomes, INTEGER if cls.gives == "tflite" else FLOAT)


def pruned_file(start: KerasModel) -> TFLiteModel:
    """An integer file with many zeros, as input of a stage that makes files smaller."""
    sparse = Prune(sparsity=0.8, epochs=0).apply(start, view(), SEED)
    return sparse.to_tflite("int8", view().train.images[:16] * np.float32(1 / 255))


def pin(
    versions: Mapping[str, int],
    libraries: Iterable[str],
    options: type | None,
    outcomes: Mapping[str, Any],
    tolerance: float = FLOAT,
) -> Pin:
    return {
        "versions": versions,
        "libraries": {library: version_of(library) for library in sorted(libraries)},
        "defaults": defaults_of(options) if options else {},
        "tolerance": tolerance,
        "outcomes": outcomes,
    }


def trained(recipe: Recipe, start: KerasModel) -> dict[str, list[float]]:
    """The summary of a training from scratch, with the numbers of each epoch."""
    model = Pinned().build(dropout=recipe.dropout)
    # Training and validation labels contradict each other, so that a plateau is reached and epochs differ.
    history = fit.fit(model, recipe, view(shift=1).training_data(), seed=SEED)
    said = ("loss", "cross_entropy", "validation_cross_entropy", "learning_rate")
    return summary(KerasModel(model), start) | {
        f"epoch {row['epoch']}": [short(row[field]) for field in said] for row in history
    }


def defaults_of(cls: type) -> dict[str, Any]:
    """The defaults of a dataclass's fields, as JSON."""
    given = [f for f in dataclasses.fields(cls) if f.default is not dataclasses.MISSING]
    return {f.name: list(f.default) if isinstance(f.default, tuple) else f.default for f in given}


def changed_defaults(found: Pin, pinned: Pin) -> list[str]:
    """The defaults that differ from the pin, one line each. A new option has no pinned default."""
    return [
        f"default of {option}: was {before}, is {now}"
        for option, before in pinned["defaults"].items()
        if (now := found["defaults"].get(option, "no longer there")) != before
    ]


def changed_outcomes(found: Pin, pinned: Pin) -> list[str]:
    """The numbers that differ from the pin, one line each."""
    return [
        f"{run}: {what}: was {values}, is {now}"
        for run, before in pinned["outcomes"].items()
        for what, values in before.items()
        if far(now := found["outcomes"].get(run, {}).get(what, []), values, pinned["tolerance"])
    ]


def far(now: Sequence[float], before: Sequence[float], tolerance: float) -> bool:
    """True if numbers differ by more than `tolerance` of themselves, or mean and deviation by that of the deviation."""
    if len(now) != len(before):
        return True
    scales = [before[1]] * 2 if len(before) == 2 else [max(abs(b), 0.01) for b in before]
    return any(
        abs(n - b) > tolerance * scale for n, b, scale in zip(now, before, scales, strict=True)
    )


def judged(name: str, found: Pin, pinned: Pin | None) -> tuple[str, bool]:
    """The error text, empty if the pin matches, and whether the found pin may be written."""
    if pinned is None:
        return f"{name} is not pinned yet: {UPDATE}.", True
    options, numbers = changed_defaults(found, pinned), changed_outcomes(found, pinned)
    told = "".join(f"\n  {line}" for line in (*options, *numbers))
    own = next(iter(found["versions"]))  # the other versions belong to code that it uses
    if options and found["versions"][own] == pinned["versions"].get(own):
        return f"a default of {name} changed: raise {own} and update by {UPDATE}.{told}", False
    if found["versions"] != pinned["versions"]:
        return f"{name} is pinned as another version: {UPDATE}, and review the change.{told}", True
    if numbers and found["libraries"] == pinned["libraries"]:
        raised = " or ".join(found["versions"])
        sentence = f"the arithmetic of {name} changed: raise {raised} and update by {UPDATE}."
        return sentence + told, False
    if numbers:
        return f"other libraries compute {name} otherwise: {UPDATE}, and review it.{told}", True
    if set(found["outcomes"]) != set(pinned["outcomes"]):
        return f"not all runs of {name} are pinned: {UPDATE}.", True
    return "", True


@pytest.mark.parametrize("name", NAMES)
def test_outcomes_match_the_pins_of_the_current_version(
    name: str, start: KerasModel, update_golden: bool
) -> None:
    path = FOLDER / f"{name}.json"
    found = pin_of(name, start)
    pinned = json.loads(path.read_text()) if path.exists() else None
    wrong, writable = judged(name, found, pinned)
    if update_golden and writable:
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n")
        wrong = ""
    assert not wrong, wrong


def test_every_built_in_stage_is_pinned() -> None:
    ours = {
        n for n in registry.stage_names() if registry.stage(n).__module__.startswith("compress.")
    }
    assert set(STAGES) == ours
    assert all(type(stage).name == name for name, stages in STAGES.items() for stage in stages)


def test_the_pinned_recipes_cover_every_kind_and_field() -> None:
    recipes = [*RECIPES.values(), FINETUNING]
    kinds = {(r.optimizer, r.schedule, r.warmup > 0, r.keep) for r in recipes}
    assert {kind[0] for kind in kinds} == {"sgd", "adam"}
    assert {kind[1] for kind in kinds} == {"constant", "plateau", "cosine", "triangular"}
    assert {kind[2] for kind in kinds if kind[1] == "cosine"} == {True, False}
    assert {kind[3] for kind in kinds} == {"last", "best"}
    used = set[str]().union(*(recipe.changed_fields() for recipe in recipes))
    assert {f.name for f in dataclasses.fields(Recipe)} - used <= {"summary"}


# Judging pins

PINNED: Pin = {
    "versions": {"Made.version": 1, "train.VERSION": 1},
    "libraries": {"keras": "3.15.1"},
    "defaults": {"epochs": 45, "skip": []},
    "tolerance": 1e-4,
    "outcomes": {"made --epochs 2": {"conv1": [0.01, 0.2], "epoch 1": [1.5, 1.4, 1.6, 0.02]}},
}


def but(**parts: Mapping[str, Any]) -> Pin:
    """The pin with some values of its parts replaced."""
    return PINNED | {key: PINNED[key] | value for key, value in parts.items()}


def outcome(*values: float) -> dict[str, Any]:
    return {
        "outcomes": {"made --epochs 2": PINNED["outcomes"]["made --epochs 2"] | {"conv1": values}}
    }


DEFAULT = "a default of made changed: raise Made.version and update by pytest"
UNRAISED = (
    "the arithmetic of made changed: raise Made.version or train.VERSION and update by pytest"
)


@pytest.mark.parametrize(
    ("found", "sentence", "writable"),
    [
        (PINNED, "", True),
        (but(**outcome(0.01 + 1.9e-5, 0.2 - 1.9e-5)), "", True),
        (but(**outcome(0.01 + 2.1e-5, 0.2)), UNRAISED, False),
        (but(**outcome(0.01, 0.2 + 2.1e-5)), UNRAISED, False),
        (but(defaults={"epochs": 40}), DEFAULT, False),
        (but(defaults={"epochs": 40}, versions={"train.VERSION": 2}), DEFAULT, False),
        (but(defaults={"epochs": 40}, versions={"Made.version": 2}), "is pinned as another version", True),
        (but(defaults={"momentum": 0.9}), "", True),
        (but(versions={"Made.version": 2}, **outcome(0.02, 0.2)), "is pinned as another version", True),
        (but(versions={"train.VERSION": 2}), "is pinned as another version", True),
        (but(libraries={"keras": "3.16.0"}), "", True),
        (but(libraries={"keras": "3.16.0"}, **outcome(0.02, 0.2)), "other libraries compute made otherwise", True),
        (but(libraries={"keras": "3.16.0"}, defaults={"epochs": 40}), DEFAULT, False),
        (but(outcomes={"made --epochs 3": {}}), "not all runs of made are pinned", True),
        (PINNED | {"outcomes": {}}, UNRAISED, False),
    ],
)  # fmt: skip
def test_a_change_without_a_new_version_is_refused_and_not_written(
    found: Pin, sentence: str, writable: bool
) -> None:
    wrong, may_be_written = judged("made", found, PINNED)
    assert bool(wrong) == bool(sentence)
    assert sentence in wrong
    assert may_be_written == writable


def test_a_missing_pin_is_reported() -> None:
    assert judged("made", PINNED, None) == (f"made is not pinned yet: {UPDATE}.", True)
