"""Longer training: after half of a search's time, its best pipelines are trained for the remaining time."""

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

HALF = 0.5  # share of the minutes after which longer training is proposed
SHARE = 1 / 8  # maximum share of the minutes for one trial before that
USED = 0.85  # share of the remaining time to use: a pace is inexact, and an interrupted training is lost
WORTH_IT = 1.25  # a pipeline is proposed with at least this times the epochs that it had
PROPOSED = "longer"  # attribute of a study: the minutes for which longer training was proposed


def propose_longer_training(
    study: Study, definition: Definition, so_far: Standing, seconds_left: float | None
) -> None:
    """Propose the best pipeline once more, with as many epochs as fit into the remaining time and into the space.

    Many trials are short trials, while a person would give one training all the time. A search with a time budget does
    so in its second half. If the space does not let the best pipeline use all of that time, the rest goes to the best
    pipeline of another chain, and so on. A search with several objectives has no best pipeline.
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
        # A trial without a pace trained no epoch: all its stages were finished before.
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
    """True if longer training was proposed for these minutes. First trials that still wait are then dropped."""
    return definition.minutes is not None and study.user_attrs.get(PROPOSED) == definition.minutes


def most_seconds(study: Study, definition: Definition, seconds_left: float) -> float:
    """The maximum seconds of a trial. Before the longer training, they leave time for other trials and for it."""
    whole = 60 * (definition.minutes or 0)
    late = seconds_left <= HALF * whole or is_proposed(study, definition)
    if late or definition.minutes is None or len(definition.objectives) > 1:
        return seconds_left
    return min(SHARE * whole, seconds_left - HALF * whole)
