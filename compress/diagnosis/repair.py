"""Search for rewrites of a model that remove the findings of stages, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compress.diagnosis.rewrites import rewrites
from compress.findings import CannotTreat, Finding, as_findings
from compress.keras_models.graph import is_readable
from compress.keras_models.model import KerasModel
from compress.keras_models.rebuild import Rewrite
from compress.stage import Stage


@dataclass(frozen=True)
class Complaint:
    """A finding of one of several stages."""

    stage: int  # its number among them
    finding: Finding
    by: str = ""  # the stage that the sentence begins with

    @property
    def sentence(self) -> str:
        return self.finding.sentence(self.by)

    def layers(self, model: KerasModel) -> list[str]:
        """The layers of the model that the finding is about."""
        names = {layer.name for layer in model.keras.layers}
        return [name for name in self.finding.layers if name in names]


Complaints = tuple[list[Complaint], list[Complaint]]  # refusals, and what will be left untreated


def fixed(model: KerasModel, stages: Sequence[Stage]) -> tuple[KerasModel, list[Rewrite]]:
    """A flat model that computes the same with fewer findings, and the rewrites that were applied.

    A rewrite is applied if no stage that accepted the model refuses it afterwards, and if it removes a refusal, or
    removes a note and leaves fewer notes than before.
    """
    done: list[Rewrite] = []
    complaints = complaints_of(model, stages)
    while better := _better(model, stages, complaints):
        rewrite, model, complaints = better
        done.append(rewrite)
    return model, done


def complaints_of(model: KerasModel, stages: Sequence[Stage]) -> Complaints:
    """Why stages refuse the model, and what they will leave untreated in it."""
    refusals: list[Complaint] = []
    notes: list[Complaint] = []
    for number, stage in enumerate(stages):
        try:
            findings = as_findings(stage.check(model))
            notes += [Complaint(number, finding, stage.name) for finding in findings]
        except CannotTreat as error:
            refusals += [Complaint(number, finding, error.stage) for finding in error.findings]
        except ValueError as error:
            refusals.append(Complaint(number, Finding((), str(error))))
    return refusals, notes


def _better(
    model: KerasModel, stages: Sequence[Stage], complaints: Complaints
) -> tuple[Rewrite, KerasModel, Complaints] | None:
    """The first rewrite that helps, the model after it and what stages then complain of."""
    refusals, notes = complaints
    if not (refusals or notes) or not is_readable(model.keras):
        return None
    about = {name for complaint in [*refusals, *notes] for name in complaint.finding.layers}
    refusing = {complaint.stage for complaint in refusals}
    for rewrite in rewrites(model):
        if about.isdisjoint(rewrite.touches):
            continue
        after = rewrite.applied(model)
        still, left = complaints_of(after, stages)
        if {complaint.stage for complaint in still} - refusing:
            continue
        helped = refusing and set(refusals) - set(still)
        if helped or (set(notes) - set(left) and len(left) < len(notes)):
            return rewrite, after, (still, left)
    return None
