"""Pace: estimate the time of a trial from earlier trials, and the number of epochs that fit into a given time."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compress.pipelines.pipeline import Pipeline
from compress.search.definition import Definition
from compress.search.domain import Choice, Domain
from compress.search.prediction import Predictor
from compress.search.space import CHAIN
from compress.search.standing import PACE, WORK

if TYPE_CHECKING:
    from optuna.trial import Trial

EPOCHS = ".epochs"
TRAINING = 3  # training on an image takes about this many times the work of a prediction


def work_of(pipeline: Pipeline, predict: Predictor) -> int | None:
    """Approximate multiply-accumulates for an image when the pipeline is trained; None if they cannot be predicted.

    They are those of the resulting network and of the teacher of `distill`, which is assumed to be the incoming model.
    """
    try:
        macs = predict(pipeline, []).amounts.get("macs")
    except ValueError:  # a stage refuses the model; the run reports it
        return None
    if macs is None:
        return None
    taught = any(stage.name == "distill" for stage in pipeline.stages)
    teacher = predict(Pipeline(()), []).amounts["macs"] if taught else 0
    return TRAINING * macs + (teacher or 0)


def seconds_of(trial: Trial, epochs: int, work: int | None) -> float | None:
    """Approximate seconds of so many epochs of a trial, from the trials that have a pace; None if there are none.

    If trials of its own chain have a pace, only they count. Each pace is scaled by the work of its trial, because a
    wider student takes longer.
    """
    paced = [t for t in trial.study.get_trials(deepcopy=False) if PACE in t.user_attrs]
    alike = [other for other in paced if other.params.get(CHAIN) == trial.params[CHAIN]] or paced
    if not alike:
        return None
    scales = [_times(work, other.user_attrs.get(WORK)) for other in alike]
    paces = (t.user_attrs[PACE] * scale for t, scale in zip(alike, scales, strict=True))
    return epochs * statistics.median(paces)


def _times(work: int | None, other: int | None) -> float:
    return work / other if work and other else 1.0


def scaled_epochs(
    params: Mapping[str, Any], definition: Definition, times: float
) -> dict[str, int]:
    """The epochs of each stage of a trial, multiplied by `times` and limited to the space."""
    chain = next(c for c in definition.parsed_space().chains if c.text == params[CHAIN])
    domains = {n: d for n, d in chain.domains().items() if n.endswith(EPOCHS)}
    return {name: _greatest(d, params[name] * times) for name, d in domains.items()}


def _greatest(domain: Domain, most: float) -> int:
    """The largest number of a domain of whole numbers that is not above `most`; the smallest if all are above it."""
    if isinstance(domain, Choice):
        return max(
            (int(v) for v in domain.values if v <= most), default=min(map(int, domain.values))
        )
    step = int(domain.step or 1)
    low, high = int(domain.low), int(domain.high)
    return low + max(0, min(high, int(most)) - low) // step * step
