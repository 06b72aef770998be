"""Findings: values for what a stage leaves untreated or cannot treat in a model, and their sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

SHOWN = 3  # names in a sentence about many layers


@dataclass(frozen=True)
class Finding:
    """A part of a model that a stage leaves untreated, or the reason why the stage cannot treat the model.

    >>> Finding(("conv1",), "left dense: it has 3 input channels", "skip it").sentence("prune")
    'prune: conv1 left dense: it has 3 input channels: skip it.'
    """

    # Names of the layers that the finding is about; empty if it is about no layer in particular.
    layers: tuple[str, ...]
    # The predicate of the sentence, without a full stop; a whole sentence if there is no subject.
    reason: str
    remedy: str = ""  # what to do about it, in the imperative; empty if there is nothing to do
    subject: str = ""  # how the sentence refers to the layers; empty: by their names
    # The reason without names of layers, for a sentence about several layers; empty: the reason.
    cause: str = field(default="", compare=False)
    lasting: bool = False  # True if it holds for every layer of the kind, so that no rewrite helps

    @property
    def clause(self) -> str:
        """Subject and reason, as a part of a sentence."""
        return f"{self.subject or ', '.join(self.layers)} {self.reason}".lstrip()

    def sentence(self, stage: str = "") -> str:
        """Stage, subject, reason and remedy as one sentence. A reason that is a whole sentence stays as it is."""
        if not (self.layers or self.subject or self.remedy):
            return self.reason
        by, way = f"{stage}: " if stage else "", f": {self.remedy}" if self.remedy else ""
        return f"{by}{self.clause}{way}."


class CannotTreat(ValueError):
    """A stage cannot treat a model at all. The findings say why; the cure, if one is known, says what would help."""

    def __init__(self, first: Finding, *more: Finding, stage: str = "", cure: str = "") -> None:
        self.findings, self.stage = (first, *more), stage
        sentences = [finding.sentence(stage) for finding in by_cause(self.findings)]
        ValueError.__init__(self, " ".join([*sentences, *([cure] if cure else [])]))


def as_findings(results: Iterable[Finding | str]) -> list[Finding]:
    """The results of a stage's check as findings. A plain string becomes a finding that names no layer."""
    return [f if isinstance(f, Finding) else Finding((), f) for f in results]


def about_layer(name: str, kind: str, reason: str, remedy: str, *others: str) -> Finding:
    """A finding about a layer, whose sentence gives its name and class; `others` are layers that the reason mentions.

    >>> about_layer("flip", "RandomFlip", "acts in training alone", "leave it out").sentence()
    "layer 'flip' (RandomFlip) acts in training alone: leave it out."
    """
    return Finding((name, *others), reason, remedy, f"layer '{name}' ({kind})")


def by_cause(findings: Iterable[Finding]) -> list[Finding]:
    """One finding per cause: findings that say the same about different layers become one about all of them.

    >>> same = [Finding((name,), "left dense") for name in ("a", "b", "c", "d")]
    >>> [finding.sentence("prune") for finding in by_cause(same)]
    ['prune: each of 4 layers (a, b, c, ...) left dense.']
    """
    causes: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        causes.setdefault((finding.cause or finding.reason, finding.remedy), []).append(finding)
    return [_joined(alike) for alike in causes.values()]


def _joined(alike: list[Finding]) -> Finding:
    named = {finding.clause.removesuffix(finding.reason).strip(): finding for finding in alike}
    if len(named) == 1:
        return alike[0]
    names = [name.removeprefix("layer ") for name in named]
    subject = (
        f"each of {len(names)} layers ({', '.join(names[:SHOWN])}{', ...' * (len(names) > SHOWN)})"
    )
    layers = tuple(dict.fromkeys(layer for finding in alike for layer in finding.layers))
    reason = alike[0].cause or alike[0].reason
    return replace(alike[0], layers=layers, subject=subject, reason=reason)


def refuse_together(checks: Iterable[Callable[[], None]]) -> None:
    """Run checks that may raise CannotTreat, and raise one CannotTreat with all that they found."""
    findings: list[Finding] = []
    for check in checks:
        try:
            check()
        except CannotTreat as refusal:
            findings += refusal.findings
    if findings:
        raise CannotTreat(*findings)
