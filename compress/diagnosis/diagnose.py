"""Diagnose, before any work, which layers stages can treat, and rewrite the model so that they can treat more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from compress.diagnosis.asked_task import view_without_data
from compress.diagnosis.equivalence import Images, compared
from compress.diagnosis.repair import Complaint, by_cause, complaints_of, fixed, repaired, told
from compress.files import replacing
from compress.keras_models.input_scale import takes_raw_pixels
from compress.keras_models.layer_kinds import kind_of
from compress.keras_models.layers import kernel_names
from compress.keras_models.model import KerasModel
from compress.keras_models.rebuild import Rewrite, flattened
from compress.model_files.load import load_model
from compress.stage import Stage
from compress.tasks.view import TaskView


@dataclass(frozen=True)
class Advice:
    """A finding of a stage, and the rewrite that would help."""

    layers: list[str]  # the layers that it is about; empty if it is about no particular layer
    why: str  # the message of the stage
    rewrite: str  # the rewrite that --fix does, or why there is none; empty if nothing is known


@dataclass(frozen=True)
class Diagnosis:
    """The verdict whether a stage can treat a model, with the findings of the stage."""

    stage: Stage
    verdict: Literal["yes", "in part", "no"]
    findings: list[Advice]
    untouched: list[str]  # layers with kernels that no finding is about


@dataclass(frozen=True)
class Fix:
    """The file for the rewritten model, and the images on which its outputs must stay the same."""

    out: Path
    images: Callable[[KerasModel], Images]

    def __post_init__(self) -> None:
        if self.out.suffix != ".keras":
            raise ValueError(f"--fix writes a .keras file: end the name of {self.out} in .keras.")
        if not self.out.absolute().parent.is_dir():
            raise FileNotFoundError(f"no folder {self.out.parent} for --fix: make it first.")


def examined(
    model: KerasModel, stages: Sequence[Stage], task: TaskView | None = None
) -> list[Diagnosis]:
    """One diagnosis for each stage on a flat model. Only the checks of the stages run.

    Args:
      task: the task that the stages would run on; see `complaints_of`.
    """
    return [_diagnosis(model, stage, task) for stage in stages]


def diagnose(
    file: Path,
    stages: Sequence[Stage],
    trust: bool,
    fix: Fix | None = None,
    task_of: Callable[[KerasModel], TaskView] = view_without_data,
) -> dict[str, Any]:
    """Everything `compress doctor` reports about a model file, as plain data. With `fix`, write the rewritten model.

    Keys: file, task, notes, stages (for the rewritten model, if there is one) and fixed. If no rewrite helps, no file
    is written.

    Args:
      task_of: returns the task that stages are checked for; it raises ValueError if the model does not fit it.
    """
    loaded = loaded_model(file, trust)
    task = task_of(loaded)
    model, notes = flattened(loaded)
    written = None
    if fix:
        model, done = fixed(model, stages, task)
        written = _written(loaded, model, fix, trust) if done or notes else None
        written = {"rewrites": [*notes, *(rewrite.what for rewrite in done)], **(written or {})}
    return {
        "file": str(file),
        "task": task.task.name,
        "notes": notes,
        "stages": [_record(diagnosis) for diagnosis in examined(model, stages, task)],
        "fixed": written,
    }


def _diagnosis(model: KerasModel, stage: Stage, task: TaskView | None) -> Diagnosis:
    refusals, notes = complaints_of(model, [stage], task)
    complaints = [*refusals, *notes]
    patient = repaired(model, [stage], task, (refusals, notes))
    refusals_left, notes_left = patient.complaints
    left = {*refusals_left, *notes_left}
    then = "".join(f" It still refuses the model: {c.sentence}" for c in by_cause(refusals_left))
    mended = [complaint for complaint in complaints if complaint not in left]
    findings = [
        Advice(complaint.layers(model), complaint.sentence, _help(model, complaint, done, then))
        for some, done in ((mended, patient.rewrites), ([c for c in complaints if c in left], []))
        for complaint in by_cause(some)
    ]
    named = {name for finding in findings for name in finding.layers}
    kernels = [layer.name for layer in model.keras.layers if kernel_names(layer)]
    verdict: Literal["yes", "in part", "no"] = (
        "no" if refusals else "in part" if findings else "yes"
    )
    untouched = [] if refusals else [name for name in kernels if name not in named]
    return Diagnosis(stage, verdict, findings, untouched)


def _help(model: KerasModel, complaint: Complaint, done: Sequence[Rewrite], then: str) -> str:
    if done:
        return f"--fix does it: {told(done)}{then}"
    kinds = {layer.name: kind_of(layer) for layer in model.keras.layers}
    reasons = {kinds[name].no_rewrite for name in complaint.layers(model)}
    return " ".join(
        f"no rewrite keeps the function: {reason}." for reason in sorted(reasons) if reason
    )


def _record(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "stage": " ".join(diagnosis.stage.argv()),
        "can_work": diagnosis.verdict != "no",
        "verdict": diagnosis.verdict,
        "findings": [asdict(finding) for finding in diagnosis.findings],
        "untouched": diagnosis.untouched,
    }


def loaded_model(file: Path, trust: bool) -> KerasModel:
    """The model in a file. ValueError if it is not one for stages, with one input and one number for each class."""
    model = load_model(file, trust)
    if not isinstance(model, KerasModel):
        raise ValueError(
            f"{file} is a .tflite file; stages start from a .keras or .h5 model: give the model it was made from."
        )
    inputs = [list(tensor.shape) for tensor in model.keras.inputs]
    outputs = [list(tensor.shape) for tensor in model.keras.outputs]
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            f"{file} has {len(inputs)} inputs and {len(outputs)} outputs; expected one input, images, and one output, "
            "a number per class: give a model like that."
        )
    (batch, *image), (_, *scores) = inputs[0], outputs[0]
    if batch is not None or not 1 <= len(image) <= 3 or None in image or len(scores) != 1:
        raise ValueError(
            f"{file} takes {inputs[0]} and gives {outputs[0]}; expected [None, height, width, channels], images of "
            "fixed size and any number of them, or features [None, time, channels] or [None, values], as input, and "
            "[None, classes] as output: build the model again with these shapes."
        )
    return model


def _written(before: KerasModel, after: KerasModel, fix: Fix, trust: bool) -> dict[str, Any]:
    """Save `after`, check that the outputs of the saved model equal those of `before`, then move it to `fix.out`."""
    images = fix.images(before)
    with replacing(fix.out) as temporary:
        after.save(temporary)
        proof = compared(before, loaded_model(temporary, trust), images)
        if not proof.holds:
            raise ValueError(
                f"the rewritten model is not the same function: {proof}. Nothing is written; "
                "leave out --fix, and change the named layers in the code that builds the model."
            )
    raw = [takes_raw_pixels(model.keras) for model in (before, after)]
    hint = (
        "it takes pixels from 0 to 255 as before, but no layer says so any more: with --task images, "
        "add --input-scale 1."
    )
    return {
        "file": str(fix.out),
        "proof": asdict(proof),
        "says": [f"{proof}.", *([hint] if raw == [True, False] else [])],
    }
