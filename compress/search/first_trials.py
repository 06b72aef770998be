"""First trials: what a search tries before anything is known, as a person would begin."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from compress import registry
from compress.search.default_space import usual_epochs
from compress.search.definition import Definition
from compress.search.domain import Choice, Range
from compress.search.pace import EPOCHS
from compress.search.prediction import Fixed, Predictor
from compress.search.space import CHAIN, Chain

if TYPE_CHECKING:
    from optuna import Study

WIDTH = "distill.student_width"
NUMBERS = ("quantize.scheme", "qat.bits")  # what weights are stored in
FIRST = "first"  # attribute of a trial: whether it was proposed here
_MARK = {FIRST: True}


def begin_with_the_shortest(study: Study, definition: Definition) -> None:
    """Let the first trials have the fewest epochs of each chain: there is something soon, and a pace to go by."""
    for chain in definition.parsed_space().chains:
        epochs = {n: min(d.ends) for n, d in chain.domains().items() if n.endswith(EPOCHS)}
        study.enqueue_trial({CHAIN: chain.text, **epochs}, user_attrs=_MARK)


def begin_with_the_widest(study: Study, definition: Definition, predict: Predictor) -> None:
    """Let early trials have the widest student of each chain that keeps to the limits, trained for the usual epochs.

    The accuracy of students grows with their width, so a person begins there. Of the numbers that the chain may store
    weights in, they are those that leave room for the widest student: 4 bits, where the bytes are limited.
    """
    limits = definition.parsed_limits().given
    for chain in definition.parsed_space().chains:
        students = list(_widest(chain, limits, predict))
        if students:
            widest = max(students, key=lambda values: float(values[WIDTH]))
            study.enqueue_trial({CHAIN: chain.text, **widest}, user_attrs=_MARK)


def _widest(chain: Chain, limits: dict[str, int], predict: Predictor) -> Iterator[dict[str, Any]]:
    """Values of a chain with its widest student that keeps to the limits, for each kind of numbers to store."""
    domains = chain.domains()
    width = domains.get(WIDTH)
    if not isinstance(width, Range):
        return
    numbers = {n: d.ends for n in NUMBERS if isinstance(d := domains.get(n), Choice)}
    for chosen in itertools.product(*numbers.values()):
        usual = _usual(chain) | dict(zip(numbers, chosen, strict=True))
        students = ({**usual, WIDTH: number} for number in reversed(width.numbers))
        yield from itertools.islice((s for s in students if _fits(chain, s, limits, predict)), 1)


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
