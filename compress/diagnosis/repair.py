"""Search for rewrites of a model that remove findings of stages, one kind of rewrite after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compress import findings
from compress.diagnosis.asked_task import view_without_data
from compress.diagnosis.rewrites import rewrites_by_kind
from compress.findings import SHOWN, CannotTreat, Finding
from compress.keras_models.graph import is_readable
from compress.keras_models.model import KerasModel
from compress.keras_models.rebuild import LayerSpec, Rewrite
from compress.model_files.fits_task import check_names
from compress.stage import Stage, checked
from compress.tasks.view import TaskView


@dataclass(frozen=True)
class Complaint:
    """A finding of one of several stages."""

    stage: int  # the number of the stage among them
    finding: Finding
    by: str = ""  # the stage that the sentence begins with

    @property
    def sentence(self) -> str:
        return self.finding.sentence(self.by)

    def layers(self, model: KerasModel) -> list[str]:
        """The layers of the model that the finding is about."""
        names = {layer.name for layer in model.keras.layers}
        return [name for name in self.finding.layers if name in names]


Complaints = tuple[list[Complaint], list[Complaint]]  # refusals, and notes on untreated layers


@dataclass(frozen=True)
class Repaired:
    """A flat model with the same function as the original, the rewrites that made it, and its remaining complaints."""

    model: KerasModel
    rewrites: list[Rewrite]
    complaints: Complaints


def fixed(
    model: KerasModel, stages: Sequence[Stage], task: TaskView | None = None
) -> tuple[KerasModel, list[Rewrite]]:
    """A flat model with the same function and fewer findings, and the rewrites that were applied.

    Rewrites are applied if no stage that accepted the model refuses it afterwards, and if they remove a refusal, or
    remove a note and leave fewer notes than before.

    Args:
      task: see `complaints_of`.
    """
    patient = repaired(model, stages, task, complaints_of(model, stages, task))
    return patient.model, patient.rewrites


def repaired(
    model: KerasModel, stages: Sequence[Stage], task: TaskView | None, complaints: Complaints
) -> Repaired:
    """Apply rewrites as `fixed` does, given the complaints that the stages have about the model."""
    patient = Repaired(model, [], complaints)
    while better := _better(patient, stages, task):
        patient = better
    return patient


def complaints_of(
    model: KerasModel, stages: Sequence[Stage], task: TaskView | None = None
) -> Complaints:
    """The reasons why stages refuse the model, and the findings about parts that they will leave untreated.

    Args:
      task: the task that the stages would run on; None: task `images`, as `view_without_data` gives it.
    """
    task = task or view_without_data(model)
    refusals: list[Complaint] = []
    notes: list[Complaint] = []
    for number, stage in enumerate(stages):
        try:
            check_names(model.keras)
            found, _ = checked(stage, model, task)
            notes += [Complaint(number, finding, stage.name) for finding in found]
        except CannotTreat as error:
            refusals += [Complaint(number, finding, error.stage) for finding in error.findings]
        except ValueError as error:
            refusals.append(Complaint(number, Finding((), str(error))))
    return refusals, notes


def with_cure(refusal: CannotTreat, model: KerasModel, stage: Stage, task: TaskView) -> CannotTreat:
    """The refusal of a flat model by a stage, extended by the rewrites that would help, if there are any."""
    complaints = [Complaint(0, finding, refusal.stage) for finding in refusal.findings]
    patient = repaired(model, [stage], task, (complaints, []))
    if not patient.rewrites:
        return refusal
    cure = f"`compress doctor FILE --fix NEW.keras` does it: {told(patient.rewrites)}"
    return CannotTreat(*refusal.findings, stage=refusal.stage, cure=cure)


def by_cause(complaints: Sequence[Complaint]) -> list[Complaint]:
    """The complaints, with those of one stage and one cause joined into a complaint about all their layers."""
    stages: dict[tuple[int, str], list[Finding]] = {}
    for complaint in complaints:
        stages.setdefault((complaint.stage, complaint.by), []).append(complaint.finding)
    return [
        Complaint(number, finding, by)
        for (number, by), found in stages.items()
        for finding in findings.by_cause(found)
    ]


def told(rewrites: Sequence[Rewrite]) -> str:
    """The descriptions of rewrites, as sentences. If there are many, only the first few are described."""
    more = len(rewrites) - SHOWN
    shown = [rewrite.what for rewrite in rewrites[:SHOWN]]
    return " ".join([*shown, *([f"And {more} more like these."] if more > 0 else [])])


def _better(patient: Repaired, stages: Sequence[Stage], task: TaskView | None) -> Repaired | None:
    """The model after the first kind of rewrites that helps; None if no kind helps."""
    complaints = [*patient.complaints[0], *patient.complaints[1]]
    complaints = [complaint for complaint in complaints if not complaint.finding.lasting]
    if not complaints or not is_readable(patient.model.keras):
        return None
    about = {name for complaint in complaints for name in complaint.finding.layers}
    for kind in rewrites_by_kind(patient.model):
        touching = [rewrite for rewrite in kind if not about.isdisjoint(rewrite.touches)]
        if better := _together(patient, touching, stages, task):
            return better
    return None


def _together(
    patient: Repaired, rewrites: Sequence[Rewrite], stages: Sequence[Stage], task: TaskView | None
) -> Repaired | None:
    """The model after all rewrites that help, tried together: one copy and one check for any number of layers.

    If they do not help together but change the complaints, each half of them is tried. None if nothing helps.
    """
    if not rewrites:
        return None
    after = _applied(patient, rewrites, stages, task)
    if _helps(patient.complaints, after.complaints):
        said = [{*refusals, *notes} for refusals, notes in (patient.complaints, after.complaints)]
        mended = {name for complaint in said[0] - said[1] for name in complaint.finding.layers}
        needed = [rewrite for rewrite in rewrites if not mended.isdisjoint(rewrite.touches)]
        if len(needed) == len(rewrites):
            return after
        fewer = _applied(patient, needed, stages, task)
        return fewer if _helps(patient.complaints, fewer.complaints) else after
    half = len(rewrites) // 2
    if not half or after.complaints == patient.complaints:
        return None
    parts = (rewrites[:half], rewrites[half:])
    return next(filter(None, (_together(patient, part, stages, task) for part in parts)), None)


def _applied(
    patient: Repaired, rewrites: Sequence[Rewrite], stages: Sequence[Stage], task: TaskView | None
) -> Repaired:
    """The model after these rewrites, without those that change a layer which an earlier one changes."""
    instead: dict[str, Sequence[LayerSpec]] = {}
    done = []
    for rewrite in rewrites:
        names = {spec.config.get("name") for specs in rewrite.instead.values() for spec in specs}
        taken = {spec.config.get("name") for specs in instead.values() for spec in specs}
        if instead.keys().isdisjoint(rewrite.instead) and taken.isdisjoint(names):
            instead |= rewrite.instead
            done.append(rewrite)
    model = Rewrite("", tuple(instead), instead).applied(patient.model)
    return Repaired(model, [*patient.rewrites, *done], complaints_of(model, stages, task))


def _helps(before: Complaints, after: Complaints) -> bool:
    (refusals, notes), (still, left) = before, after
    refusing = {complaint.stage for complaint in refusals}
    if {complaint.stage for complaint in still} - refusing:
        return False
    fewer = bool(set(notes) - set(left)) and len(left) < len(notes)
    return bool(set(refusals) - set(still)) or fewer
