"""Predictions: what a pipeline's file will take, before any training, and the least that a space can take."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compress.diagnosis.target import on_micro
from compress.keras_models.model import KerasModel
from compress.measurement.predicted_size import PredictedSize, predicted_size
from compress.pipelines.pipeline import Pipeline
from compress.search.limits import FLAGS, UNITS, Limits
from compress.search.space import CHAIN, Chain, Space
from compress.stage import Stage
from compress.tasks.view import TaskView

# How far above a limit a prediction must be to refuse a trial: the size model is that good for a network that is known,
# and less for one whose filters are chosen only when the stage runs.
EXACT, ABOUT = 1.03, 1.25
# What a stage that gives a file says it stores weights as -> what the size model calls that.
STORED_AS = {"int8": "int8", "int8-float-io": "int8", "8": "int8", "int4": "int4", "4": "int4"}
TRAINING = ("epochs", "learning_rate", "minutes")  # options that change no size


@dataclass(frozen=True)
class Prediction:
    """What a file will take, name -> amount, None where nobody can tell; and whether the network is known."""

    amounts: Mapping[str, int | None]
    exact: bool

    def refusal(self, limits: Limits) -> str | None:
        """Why the pipeline cannot fit the limits; None if it may."""
        slack = EXACT if self.exact else ABOUT
        for name, most in limits.given.items():
            amount = self.amounts.get(name)
            if amount is not None and amount > most * slack:
                return f"about {amount:,} {UNITS[name]}, over {FLAGS[name]} {most:,}"
        return None


class Predictor:
    """Predicts what files will take of a model on a task. What it looked at once it remembers."""

    def __init__(self, model: KerasModel, view: TaskView) -> None:
        self.model, self.view = model, view
        self._sizes: dict[str, PredictedSize] = {}  # see `_key`
        self._arenas: dict[str, int | None] = {}

    def __call__(self, pipeline: Pipeline, names: Sequence[str]) -> Prediction:
        """What the pipeline's file will take of `names`. ValueError if a stage refuses the model."""
        stages = [stage for stage in pipeline.stages if stage.gives == KerasModel.format]
        if any(stage.asked_figure() for stage in stages):
            return Prediction({}, False)  # how many filters go is found out when it is run
        key, outline = _key(stages), None
        if key not in self._sizes:
            outline = self._outline(stages)
            self._sizes[key] = predicted_size(outline)
        if "arena" in names and key not in self._arenas:
            self._arenas[key] = _arena(outline or self._outline(stages))
        size = self._sizes[key]
        amounts = {"macs": size.macs, "flash": flash(pipeline, size)}
        if "arena" in names:
            amounts["arena"] = self._arenas[key]
        return Prediction(amounts, all(stage.outlines_exactly for stage in stages))

    def _outline(self, stages: Sequence[Stage]) -> KerasModel:
        model = self.model
        for stage in stages:
            model = stage.outline(model, self.view)
        return model


def _key(stages: Sequence[Stage]) -> str:
    """A text that is the same for stages that give networks of the same size."""
    specs = [{k: v for k, v in stage.spec().items() if k not in TRAINING} for stage in stages]
    return json.dumps(specs, default=list)


def _arena(model: KerasModel) -> int | None:
    """The arena of the int8 file of an untrained model; None if TFLM does not run it, which measuring will say."""
    found = on_micro(model)
    return found["arena_bytes"] if found["runs"] else None


def flash(pipeline: Pipeline, size: PredictedSize) -> int | None:
    """The predicted bytes of a pipeline's file; None where what stores it is not in the size model."""
    storing = [stage for stage in pipeline.stages if stage.gives != KerasModel.format]
    if not storing:
        return size.float32_bytes
    options = storing[0].spec()
    scheme = STORED_AS.get(str(options.get("scheme", options.get("bits"))))
    if scheme is None or len(storing) > 1:  # a file that is made smaller
        return None
    return size.int4_bytes if scheme == "int4" else size.int8_bytes


def check_possible(space: Space, limits: Limits, predict: Predictor) -> None:
    """Raise ValueError, with the least that was found, if nothing in the space can fit one of the limits."""
    if not limits.given:
        return
    smallest = [found for chain in space.chains if (found := _smallest(chain, predict))]
    if not smallest:
        _raise_refusal(space, predict)
        return  # what its chains take is only known when they are run
    for name, most in limits.given.items():
        tried = [(predict(pipeline, [name]), pipeline) for pipeline in smallest]
        known = [(p.amounts.get(name), p, pipeline) for p, pipeline in tried]
        alone = Limits(**{name: most})
        if any(amount is None or not p.refusal(alone) for amount, p, _ in known):
            continue
        least, _, pipeline = min(known, key=lambda each: each[0] or 0)
        raise ValueError(
            f"{FLAGS[name]} {most:,} is less than anything in this space takes: the smallest, {pipeline.label!r}, "
            f"takes about {least:,} {UNITS[name]}. Give {FLAGS[name]} {least:,} or more, or a space of smaller ones."
        )


class Fixed:
    """A chooser that chooses what it was given, and the first end of a domain otherwise."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = dict(values)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """The value, as a trial would give it."""
        return self.values.get(name, choices[0])

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """As `suggest_categorical`."""
        return float(self.values.get(name, low))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """As `suggest_categorical`."""
        return int(self.values.get(name, low))


def _smallest(chain: Chain, predict: Predictor) -> Pipeline | None:
    """The smallest pipeline of a chain, found by one option after another; None if a stage refuses the model."""
    best: tuple[tuple[int, int], Pipeline] | None = None
    values: dict[str, Any] = {CHAIN: chain.text}
    for name, end in _ends(chain):
        tried = {**values, **({name: end} if name else {})}
        try:
            pipeline = chain.pipeline(Fixed(tried))
            amounts = predict(pipeline, []).amounts
        except ValueError:
            continue  # these options do not go together, or not with this model
        if not amounts:
            return None  # it is only known when it is run
        order = (amounts.get("flash") or 0, amounts.get("macs") or 0)
        if best is None or order < best[0]:
            best, values = (order, pipeline), tried
    return best and best[1]


def _ends(chain: Chain) -> Iterator[tuple[str, Any]]:
    """What to try in turn: nothing, then each end of each option that may change a size."""
    yield "", None
    for name, values in chain.domains().items():
        if name.rpartition(".")[2] not in TRAINING:
            for end in values.ends:
                yield name, end


def _raise_refusal(space: Space, predict: Predictor) -> None:
    """Raise the ValueError by which the first chain is refused, if it is."""
    pipeline = space.chains[0].pipeline(Fixed({}))
    predict(pipeline, [])
