"""Longer training: when half of a search's time is over, its best pipelines are trained for the time that is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.search.default_space import usual_epochs
from compress.search.definition import Definition
from compress.search.pace import scaled_epochs
from compress.search.prediction import Fixed
from compress.search.space import CHAIN
from compress.search.standing import PACE, Standing

if TYPE_CHECKING:
    from optuna import Study

HALF = 0.5  # of the minutes, after which it is proposed
SHARE = 1 / 8  # of the minutes, which no trial before that may take more of
USED = 0.85  # share of the time left that it is to take: a pace is not exact, and a training broken off is lost
WORTH_IT = 1.25  # times the epochs that a pipeline had; with less it is not proposed
PROPOSED = "longer"  # attribute of a study: the minutes of the budget for which it was proposed


def propose_longer_training(
    study: Study, definition: Definition, so_far: Standing, seconds_left: float | None
) -> None:
    """Propose the best pipeline with more epochs, as many as fit into the time left and into the space; once.

    Trials that are many are short, and a person would give one training all the time. This is what a search by the
    clock does with its second half. Where the space lets the best pipeline have only a part of that time, the rest is
    for the best one of another chain, and so on. A search that has several objectives has no best one.
    """
    if definition.minutes is None or seconds_left is None or len(definition.objectives) > 1:
        return
    early = seconds_left > HALF * definition.minutes * 60
    if early or so_far.best is None or is_proposed(study, definition):
        return
    trials, space = study.get_trials(deepcopy=False), definition.parsed_space()
    seconds, seen = USED * seconds_left, set()
    for found in so_far.fitting:
        trial = trials[found.number]
        # Without a pace all of it was trained before.
        if PACE not in trial.user_attrs or trial.params[CHAIN] in seen:
            continue
        seen.add(trial.params[CHAIN])
        stages = space.pipeline(Fixed(trial.params)).stages
        pace, epochs = trial.user_attrs[PACE], sum(map(usual_epochs, stages))
        longer = scaled_epochs(trial.params, definition, seconds / (pace * epochs))
        more = epochs + sum(longer.values()) - sum(trial.params[name] for name in longer)
        if more >= WORTH_IT * epochs:
            study.enqueue_trial({**trial.params, **longer})
            study.set_user_attr(PROPOSED, definition.minutes)
            seconds -= pace * more


def is_proposed(study: Study, definition: Definition) -> bool:
    """Whether that was done. The first trials that still wait then are given up: no time would be left for it."""
    return definition.minutes is not None and study.user_attrs.get(PROPOSED) == definition.minutes


def most_seconds(study: Study, definition: Definition, seconds_left: float) -> float:
    """How long a trial should take at most: before the longer training it leaves time for others, and for that."""
    whole = 60 * (definition.minutes or 0)
    late = seconds_left <= HALF * whole or is_proposed(study, definition)
    if late or definition.minutes is None or len(definition.objectives) > 1:
        return seconds_left
    return min(SHARE * whole, seconds_left - HALF * whole)
