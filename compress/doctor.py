"""What stages can make of a model, told before any work; and the model rewritten so that they can make more of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from compress import model_file, own_data
from compress.graph import Rewrite, flattened, is_readable
from compress.layers import KERNELS
from compress.model import KerasModel
from compress.proof import Images, compared
from compress.rewrites import rewrites
from compress.stage import Stage
from compress.store import replacing

# Layers that no rewrite replaces, and why.
REASONS = {
    "PReLU": "its slopes are learnt for every position or channel: train with ReLU or LeakyReLU in its place",
    "BatchNormalization": "no kernel beside it can take it exactly: train with it right after a convolution or Dense",
    "Lambda": "what it does cannot be read: say it with Keras layers (Rescaling, Activation, Reshape)",
} | dict.fromkeys(
    ("GroupNormalization", "LayerNormalization", "RMSNormalization", "UnitNormalization"),
    "it measures each image anew, which no fixed kernel does: train with BatchNormalization in its place",
)


@dataclass(frozen=True)
class Finding:
    """Something a stage will not or cannot treat."""

    layers: list[str]  # that the sentence is about; empty if it names none
    why: str  # what the stage says
    rewrite: str  # what would help, and whether it can be done here; empty if nothing is known


@dataclass(frozen=True)
class Opinion:
    """What one stage can make of a model."""

    stage: Stage
    verdict: Literal["yes", "in part", "no"]
    findings: list[Finding]
    untouched: list[str]  # layers with kernels that nothing is said against


@dataclass(frozen=True)
class Fix:
    """Where the rewritten model goes, and on which images it must compute the same."""

    out: Path
    images: Callable[[KerasModel], Images]

    def __post_init__(self) -> None:
        if self.out.suffix != ".keras":
            raise ValueError(f"--fix writes a .keras file: {self.out} is none; name it so.")
        if not self.out.absolute().parent.is_dir():
            raise FileNotFoundError(f"no folder {self.out.parent} for --fix: make it first.")


def examined(model: KerasModel, stages: Sequence[Stage]) -> list[Opinion]:
    """What each stage, alone, says of a flat model; the stages run nothing but their checks."""
    return [_opinion(model, stage) for stage in stages]


def fixed(model: KerasModel, stages: Sequence[Stage]) -> tuple[KerasModel, list[Rewrite]]:
    """A flat model that computes the same and of which the stages say less; and the rewrites that made it so.

    A rewrite is done if it silences something a stage said, makes no stage refuse that did not, and, where it helps
    no stage out of a refusal, leaves no more to be said than before.
    """
    done: list[Rewrite] = []
    complaints = _complaints(model, stages)
    while better := _better(model, stages, complaints):
        rewrite, model, complaints = better
        done.append(rewrite)
    return model, done


def consult(
    file: Path, stages: Sequence[Stage], trust: bool, fix: Fix | None = None
) -> dict[str, Any]:
    """Everything `compress doctor` has to say of a model file, as plain data; with `fix`, the better file is written.

    Keys: file, notes, stages (of the better model, if one is written) and fixed.
    """
    loaded = _loaded(file, trust)
    model, notes = flattened(loaded)
    written = None
    if fix:
        model, done = fixed(model, stages)
        written = _written(loaded, model, fix, trust) if done or notes else None
        written = {"rewrites": [*notes, *(rewrite.what for rewrite in done)], **(written or {})}
    return {
        "file": str(file),
        "notes": notes,
        "stages": [_record(opinion) for opinion in examined(model, stages)],
        "fixed": written,
    }


def _opinion(model: KerasModel, stage: Stage) -> Opinion:
    refusals, notes = _complaints(model, [stage])
    said = [*refusals, *notes]
    after, done = fixed(model, [stage]) if said else (model, [])
    remaining = _complaints(after, [stage]) if done else (refusals, notes)
    left = {text for texts in remaining for _, text in texts}
    then = "".join(f" It refuses the model still: {text}" for _, text in remaining[0])
    findings = [
        Finding(_named(model, text), text, _help(model, text, [] if text in left else done, then))
        for _, text in said
    ]
    named = {name for finding in findings for name in finding.layers}
    kernels = [layer.name for layer in model.keras.layers if type(layer).__name__ in KERNELS]
    verdict: Literal["yes", "in part", "no"] = (
        "no" if refusals else "in part" if findings else "yes"
    )
    untouched = [] if refusals else [name for name in kernels if name not in named]
    return Opinion(stage, verdict, findings, untouched)


Said = list[tuple[int, str]]  # which stage, and its sentence


def _complaints(model: KerasModel, stages: Sequence[Stage]) -> tuple[Said, Said]:
    """What stages refuse the model for, and what they will leave untreated in it."""
    refusals: Said = []
    notes: Said = []
    for number, stage in enumerate(stages):
        try:
            notes += [(number, text) for text in stage.check(model)]
        except ValueError as error:
            refusals.append((number, str(error)))
    return refusals, notes


def _better(
    model: KerasModel, stages: Sequence[Stage], complaints: tuple[Said, Said]
) -> tuple[Rewrite, KerasModel, tuple[Said, Said]] | None:
    """The first rewrite that helps, the model after it and what stages then say."""
    refusals, notes = complaints
    if not (refusals or notes) or not is_readable(model.keras):
        return None
    about = {name for _, text in [*refusals, *notes] for name in _named(model, text)}
    for rewrite in rewrites(model):
        if about.isdisjoint(rewrite.touches):
            continue
        after = rewrite.applied(model)
        still, left = _complaints(after, stages)
        if {n for n, _ in still} - {n for n, _ in refusals}:
            continue
        helped = {n for n, _ in refusals} and set(refusals) - set(still)
        if helped or (set(notes) - set(left) and len(left) < len(notes)):
            return rewrite, after, (still, left)
    return None


def _named(model: KerasModel, text: str) -> list[str]:
    """The layers that a sentence is about: those in quotes, else the first whose name stands in it, and its list."""
    names = {layer.name for layer in model.keras.layers}
    quoted = [name for name in re.findall("'([^']*)'", text) if name in names]
    if quoted:
        return list(dict.fromkeys(quoted))
    known = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    name = rf"(?<![\w.-])({known})(?![\w-])(?:/\w+)?"
    found = re.search(rf"{name}(?:(?:, and |, | and ){name})*", text)
    if not found:
        return []
    return list(dict.fromkeys(m[1] for m in re.finditer(name, found[0])))


def _help(model: KerasModel, text: str, done: Sequence[Rewrite], then: str) -> str:
    if done:
        return "--fix does it: " + " ".join(rewrite.what for rewrite in done) + then
    kinds = {layer.name: type(layer).__name__ for layer in model.keras.layers}
    reasons = {REASONS.get(kinds[name], "") for name in _named(model, text)}
    return " ".join(
        f"no rewrite keeps the function: {reason}." for reason in sorted(reasons) if reason
    )


def _record(opinion: Opinion) -> dict[str, Any]:
    return {
        "stage": " ".join(opinion.stage.argv()),
        "can_work": opinion.verdict != "no",
        "verdict": opinion.verdict,
        "findings": [asdict(finding) for finding in opinion.findings],
        "untouched": opinion.untouched,
    }


def _loaded(file: Path, trust: bool) -> KerasModel:
    model = model_file.load(file, trust)
    if not isinstance(model, KerasModel):
        raise ValueError(
            f"{file} is finished: stages start from the .keras or .h5 model it was made of."
        )
    inputs = [list(tensor.shape) for tensor in model.keras.inputs]
    outputs = [list(tensor.shape) for tensor in model.keras.outputs]
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            f"{file} has {len(inputs)} inputs and {len(outputs)} outputs; expected one input, images, and one output, "
            "a number per class: give a model like that."
        )
    (batch, *image), (_, *scores) = inputs[0], outputs[0]
    if batch is not None or len(image) != 3 or None in image or len(scores) != 1:
        raise ValueError(
            f"{file} takes {inputs[0]} and gives {outputs[0]}; expected [None, height, width, channels], images of "
            "fixed size and any number of them, and [None, classes]: build it again like that."
        )
    return model


def _written(before: KerasModel, after: KerasModel, fix: Fix, trust: bool) -> dict[str, Any]:
    """Prove on what a file of `after` holds that it computes what `before` does, then put it at `fix.out`."""
    images = fix.images(before)
    with replacing(fix.out) as temporary:
        after.save(temporary)
        proof = compared(before, _loaded(temporary, trust), images)
        if not proof.holds:
            raise ValueError(
                f"the rewritten model is not the same function: {proof}. Nothing is written; "
                "leave out --fix and rewrite the layers that are named where the model is built."
            )
    raw = [own_data.takes_raw_pixels(model.keras) for model in (before, after)]
    hint = (
        "it takes pixels from 0 to 255 as before, but no layer says so any more: with --task images, "
        "add --input-scale 1."
    )
    return {
        "file": str(fix.out),
        "proof": asdict(proof),
        "says": [f"{proof}.", *([hint] if raw == [True, False] else [])],
    }
