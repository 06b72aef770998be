"""Predict, before any training, the size, arena and operations of a pipeline's file, and the smallest in a space."""

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

# A trial is refused if a prediction is above the limit times this. The predicted size is this accurate for a known
# network, and less accurate for a network whose filters are chosen only when the stage runs.
EXACT, ABOUT = 1.03, 1.25
# Number format in the options of a stage that stores weights -> its name in the size model.
STORED_AS = {"int8": "int8", "int8-float-io": "int8", "8": "int8", "int4": "int4", "4": "int4"}
TRAINING = ("epochs", "learning_rate", "minutes")  # options that change no size


@dataclass(frozen=True)
class Prediction:
    """The predicted amounts of a file, name -> amount (None: unknown); and whether the network is known exactly."""

    amounts: Mapping[str, int | None]
    exact: bool

    def refusal(self, limits: Limits) -> str | None:
        """The reason why the pipeline cannot fit the limits; None if it may fit."""
        slack = EXACT if self.exact else ABOUT
        for name, most in limits.given.items():
            amount = self.amounts.get(name)
            if amount is not None and amount > most * slack:
                return f"about {amount:,} {UNITS[name]}, over {FLAGS[name]} {most:,}"
        return None


class Predictor:
    """Predicts the amounts of the files that pipelines make of a model on a task. It caches its results."""

    def __init__(self, model: KerasModel, view: TaskView) -> None:
        self.model, self.view = model, view
        self._sizes: dict[str, PredictedSize] = {}  # see `_key`
        self._arenas: dict[str, int | None] = {}

    def __call__(self, pipeline: Pipeline, names: Sequence[str]) -> Prediction:
        """Predict macs and flash of a pipeline, and arena if in `names`. ValueError if a stage refuses the model."""
        stages = [stage for stage in pipeline.stages if stage.gives == KerasModel.format]
        if any(stage.asked_figure() for stage in stages):
            return Prediction({}, False)  # the number of filters to remove is known after the run
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
    """A text that is equal for stages whose options give networks of the same size."""
    specs = [{k: v for k, v in stage.spec().items() if k not in TRAINING} for stage in stages]
    return json.dumps(specs, default=list)


def _arena(model: KerasModel) -> int | None:
    """Bytes of the arena of an untrained model's int8 file; None if TFLM does not run it, which measuring reports."""
    found = on_micro(model)
    return found["arena_bytes"] if found["runs"] else None


def flash(pipeline: Pipeline, size: PredictedSize) -> int | None:
    """The predicted bytes of a pipeline's file; None if the size model does not cover the stages that store it."""
    storing = [stage for stage in pipeline.stages if stage.gives != KerasModel.format]
    if not storing:
        return size.float32_bytes
    options = storing[0].spec()
    scheme = STORED_AS.get(str(options.get("scheme", options.get("bits"))))
    if scheme is None or len(storing) > 1:  # a further stage changes the file
        return None
    return size.int4_bytes if scheme == "int4" else size.int8_bytes


def check_possible(space: Space, limits: Limits, predict: Predictor) -> None:
    """Raise ValueError, with the smallest amount found, if nothing in the space can fit one of the limits."""
    if not limits.given:
        return
    smallest = [found for chain in space.chains if (found := _smallest(chain, predict))]
    if not smallest:
        _raise_refusal(space, predict)
        return  # the amounts of its chains are known only after their runs
    for name, most in limits.given.items():
        tried = [(predict(pipeline, [name]), pipeline) for pipeline in smallest]
        known = [(p.amounts.get(name), p, pipeline) for p, pipeline in tried]
        alone = Limits(**{name: most})
        if any(amount is None or not p.refusal(alone) for amount, p, _ in known):
            continue
        least, _, pipeline = min(known, key=lambda each: each[0] or 0)
        raise ValueError(
            f"{FLAGS[name]} {most:,} is less than anything in this space takes: the smallest, {pipeline.label!r}, "
            f"takes about {least:,} {UNITS[name]}. Give {FLAGS[name]} {least:,} or more, or a space of smaller models."
        )


class Fixed:
    """A chooser that chooses the given values, and otherwise the first end of a domain."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = dict(values)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """The given value, in the form that a trial gives; otherwise the first choice."""
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
    """The smallest pipeline of a chain, searched one option at a time; None if none is known or accepted."""
    best: tuple[tuple[int, int], Pipeline] | None = None
    values: dict[str, Any] = {CHAIN: chain.text}
    for name, end in _ends(chain):
        tried = {**values, **({name: end} if name else {})}
        try:
            pipeline = chain.pipeline(Fixed(tried))
            amounts = predict(pipeline, []).amounts
        except ValueError:
            continue  # these options do not go together, or they do not suit this model
        if not amounts:
            return None  # its amounts are known only after the run
        order = (amounts.get("flash") or 0, amounts.get("macs") or 0)
        if best is None or order < best[0]:
            best, values = (order, pipeline), tried
    return best and best[1]


def _ends(chain: Chain) -> Iterator[tuple[str, Any]]:
    """The changes to try in turn: none, then each end of each option that may change a size."""
    yield "", None
    for name, values in chain.domains().items():
        if name.rpartition(".")[2] not in TRAINING:
            for end in values.ends:
                yield name, end


def _raise_refusal(space: Space, predict: Predictor) -> None:
    """Raise the ValueError that refuses the first chain, if it is refused."""
    pipeline = space.chains[0].pipeline(Fixed({}))
    predict(pipeline, [])
