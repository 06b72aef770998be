"""Loop: trials one after another until the budget is used up, by Optuna's own loop with its leases."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from compress.search.budget import Budget
from compress.search.definition import Definition
from compress.search.longer_training import propose_longer_training
from compress.search.standing import REFUSED, Standing, standing

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

    from compress.search.trial_run import TrialRun

IN_VAIN = (
    100  # proposals in a row that are refused, or were tried before, after which a search ends
)

Told = Callable[["FrozenTrial", Standing], None]  # is called after each trial


def work(
    study: Study, definition: Definition, run: TrialRun, budget: Budget, told: Told
) -> str | None:
    """Run trials until the budget is used up. Gives a sentence if it ended before that."""
    in_vain = 0
    why: str | None = None

    def after(study: Study, trial: FrozenTrial) -> None:
        nonlocal in_vain, why
        run.at_work = None
        so_far = standing(study, definition)
        in_vain = in_vain + 1 if REFUSED in trial.user_attrs else 0
        told(trial, so_far)
        propose_longer_training(study, definition, so_far, budget.seconds_left)
        if budget.is_used_up(so_far):
            study.stop()
        elif in_vain >= IN_VAIN:
            why = (
                f"the last {IN_VAIN} proposals were refused or had been tried before: the space is used up, or little "
                f"of it fits. The last one: {trial.user_attrs[REFUSED]}."
            )
            study.stop()

    while not budget.is_used_up(standing(study, definition)) and why is None:
        try:
            # One trial that fails, whatever the reason, does not keep the others from running.
            study.optimize(run, catch=(Exception,), callbacks=[after])
        except (
            AssertionError,
            ValueError,
        ):  # which Optuna raises of a trial that it is not at work on
            if run.at_work is None:
                raise
            # The lease of the trial ran out, as when a machine sleeps: it is another's now, and its run is kept.
            run.at_work = None
    return why
