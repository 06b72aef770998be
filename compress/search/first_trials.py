"""First trials: what a search tries before anything is known, as a person would begin."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from compress import registry
from compress.search.default_space import usual_epochs
from compress.search.definition import Definition
from compress.search.domain import Range
from compress.search.prediction import Fixed, Predictor
from compress.search.space import CHAIN, Chain

if TYPE_CHECKING:
    from optuna import Study

EPOCHS, WIDTH = ".epochs", "distill.student_width"
FIRST = "first"  # attribute of a trial: whether it was proposed here
_MARK = {FIRST: True}


def begin_with_the_shortest(study: Study, definition: Definition) -> None:
    """Let the first trials have the fewest epochs of each chain: there is something soon, and a pace to go by."""
    for chain in definition.parsed_space().chains:
        epochs = {n: min(d.ends) for n, d in chain.domains().items() if n.endswith(EPOCHS)}
        study.enqueue_trial({CHAIN: chain.text, **epochs}, user_attrs=_MARK)


def begin_with_the_widest(study: Study, definition: Definition, predict: Predictor) -> None:
    """Let early trials have the widest student of each chain that keeps to the limits, trained for the usual epochs.

    The accuracy of students grows with their width, so a person begins there.
    """
    limits = definition.parsed_limits().given
    for chain in definition.parsed_space().chains:
        width = chain.domains().get(WIDTH)
        if isinstance(width, Range):
            for number in reversed(width.numbers):
                values = _usual(chain) | {WIDTH: number}
                if _fits(chain, values, limits, predict):
                    study.enqueue_trial({CHAIN: chain.text, **values}, user_attrs=_MARK)
                    break


def _usual(chain: Chain) -> dict[str, Any]:
    """The first choice of each option of a chain, and the epochs that its stages train for by themselves."""
    values: dict[str, Any] = {}
    for name, domain in chain.domains().items():
        values[name] = domain.ends[0]
        if name.endswith(EPOCHS) and isinstance(domain, Range):
            usual = usual_epochs(registry.stage(name.removesuffix(EPOCHS))())
            values[name] = int(min(max(usual, domain.low), domain.high))
    return values


def _fits(chain: Chain, values: dict[str, Any], limits: dict[str, int], predict: Predictor) -> bool:
    """Whether the pipeline is predicted to keep to every limit."""
    try:
        amounts = predict(chain.pipeline(Fixed(values)), list(limits)).amounts
    except ValueError:
        return False  # these options do not go together, or not with this model
    return all((amounts.get(name) or math.inf) <= most for name, most in limits.items())
