"""Loop: run trials one after another in Optuna's loop, which has leases, until the budget is used up."""

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

# A search ends after this many proposals in a row that are refused or were tried before.
IN_VAIN = 100

Told = Callable[["FrozenTrial", Standing], None]  # called after each trial


def work(
    study: Study, definition: Definition, run: TrialRun, budget: Budget, told: Told
) -> str | None:
    """Run trials until the budget is used up. Return a sentence with the reason if the search ends earlier."""
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
            # If a trial fails, for any reason, the other trials still run.
            study.optimize(run, catch=(Exception,), callbacks=[after])
        # Optuna raises these errors if the trial is no longer assigned to this process.
        except (AssertionError, ValueError):
            if run.at_work is None:
                raise
            # The lease of the trial ran out, for instance because the machine slept. Another process may run the trial
            # now. The finished work stays in the run folder.
            run.at_work = None
    return why
