"""First trials: the trials that a search proposes before it knows anything, chosen as a person would start."""

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
from compress.search.space import CHAIN, NUMBER, Chain

if TYPE_CHECKING:
    from optuna import Study

WIDTH = "distill.student_width"
NUMBERS = ("quantize.scheme", "qat.bits")  # options that choose the number format of weights
FIRST = "first"  # attribute of a trial: true if it is a first trial
_MARK = {FIRST: True}


def begin_with_the_shortest(study: Study, definition: Definition) -> None:
    """Propose each chain with its fewest epochs: this soon gives a result, and a pace to estimate later trials by."""
    for chain in definition.parsed_space().chains:
        epochs = {n: min(d.ends) for n, d in chain.domains().items() if n.endswith(EPOCHS)}
        study.enqueue_trial({CHAIN: chain.text, **epochs}, user_attrs=_MARK)


def begin_with_the_widest(study: Study, definition: Definition, predict: Predictor) -> None:
    """Propose the widest student of each chain that keeps to the limits, trained for the default number of epochs.

    The accuracy of a student grows with its width, so a person would start there. The number format of the weights is
    the one that allows the widest student: 4 bits if the bytes are limited.
    """
    limits = definition.parsed_limits().given
    for chain in definition.parsed_space().chains:
        students = list(_widest(chain, limits, predict))
        if students:
            widest = max(students, key=lambda values: float(values[WIDTH]))
            study.enqueue_trial({CHAIN: chain.text, **widest}, user_attrs=_MARK)


def _widest(chain: Chain, limits: dict[str, int], predict: Predictor) -> Iterator[dict[str, Any]]:
    """The values of a chain with its widest student that keeps to the limits, for each number format of weights."""
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
    """The first choice of each option of a chain, and the default number of epochs of its stages, within the domain."""
    values: dict[str, Any] = {}
    for name, domain in chain.domains().items():
        values[name] = domain.ends[0]
        if name.endswith(EPOCHS) and isinstance(domain, Range):
            stage, _, _ = name.removesuffix(EPOCHS).partition(NUMBER)
            usual = usual_epochs(registry.stage(stage)())
            values[name] = int(min(max(usual, domain.low), domain.high))
    return values


def _fits(chain: Chain, values: dict[str, Any], limits: dict[str, int], predict: Predictor) -> bool:
    """True if the pipeline is predicted to keep to every limit."""
    try:
        amounts = predict(chain.pipeline(Fixed(values)), list(limits)).amounts
    except ValueError:
        return False  # these options do not go together, or they do not suit this model
    return all((amounts.get(name) or math.inf) <= most for name, most in limits.items())
