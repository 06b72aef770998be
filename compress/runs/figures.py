"""Replace targets that only this machine can measure, such as memory or time, by options that reach them.

This happens before the key of the run is computed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compress.keras_models.model import KerasModel
from compress.measurement import latency
from compress.micro import interpreter as micro
from compress.quantization import file_size
from compress.runs.remembered import remembered
from compress.stage import Stage, checked

if TYPE_CHECKING:
    from compress.runs.context import RunContext

NAME = ".figures.json"
ROUNDS, INPUTS = 21, 20  # for timing a pair of files

Figure = Callable[[KerasModel], float]


def file_bytes(whole: KerasModel, storing: Stage | None) -> Figure:
    """Size in bytes of the file that a later stage makes of a model. Without such a stage: of its slim int8 file."""

    def figure(model: KerasModel) -> float:
        model = file_size.as_if_trained(model)
        stored = storing.file_bytes(model) if storing else None
        return file_size.bytes_of(model, "int8") if stored is None else stored

    return figure


def arena_bytes(whole: KerasModel, storing: Stage | None) -> Figure:
    """Size in bytes of the arena that TFLM needs for a model's int8 file."""
    micro.check()

    def figure(model: KerasModel) -> float:
        return micro.arena(file_size.stored(model, "int8")).total

    return figure


def time_ratio(whole: KerasModel, storing: Stage | None) -> Figure:
    """The latency of a model's float32 file for one image, divided by that of the file of the model `whole`."""
    before = whole.to_tflite().content

    def figure(model: KerasModel) -> float:
        pair = (before, model.to_tflite().content)
        return latency.ratio(latency.milliseconds(pair, ROUNDS, INPUTS)).median

    return figure


FIGURES: Mapping[str, Callable[[KerasModel, Stage | None], Figure]] = {
    "flash": file_bytes,
    "arena": arena_bytes,
    "latency": time_ratio,
}


def settled(
    stages: Sequence[Stage], model: KerasModel, context: RunContext
) -> tuple[tuple[Stage, ...], tuple[dict[str, Any], ...]]:
    """The stages, with options that reach a target in place of the target; and the target of each stage, by name.

    Args:
      model: the input of the first stage.

    Raises:
      CannotTreat, or another ValueError: a stage cannot treat the model or reach its target. The stages after the
        last one with a target are not checked.
    """
    incoming, done = model.digest, list[Stage]()
    asked = [stage.asked_figure() for stage in stages]
    for number, (stage, name) in enumerate(zip(stages, asked, strict=True)):
        if any(asked[number:]):
            _, after = checked(stage, model, context.view(None))
            if name is not None:
                storing = next((s for s in stages[number:] if s.gives != KerasModel.format), None)
                asking = [*done, stage, *([storing] if storing else [])]
                run = context.keys.of_pipeline(asking, incoming)
                stage = _reaching(run, stage, name, storing, model, context)
                after = stage.outline(model, context.view(None))
            model = after or model
        done.append(stage)
    figures = [{n: getattr(stages[i], n)} if n else {} for i, n in enumerate(asked)]
    return tuple(done), tuple(figures)


def _reaching(
    run: str, stage: Stage, name: str, storing: Stage | None, model: KerasModel, context: RunContext
) -> Stage:
    """The stage with options that reach its target, found now or read from the cache."""
    note = context.progress.note

    def found() -> dict[str, Any]:
        note(f"{stage.name}: measuring {name}, to find what reaches {getattr(stage, name):g}, once")
        figure = FIGURES[name](model, storing)
        reaching = stage.reaching(model, context.view(None), context.seed, figure)
        before, after = stage.spec(), reaching.spec()
        return {option: value for option, value in after.items() if value != before[option]}

    def is_valid(options: Any) -> bool:
        return isinstance(options, dict) and bool(options) and options.keys() <= stage.spec().keys()

    options = remembered(context.out / NAME, run, is_valid, found)
    result = dataclasses.replace(stage, **options)
    note(
        f"{stage.name}: {' '.join(result.argv()[1:])} reaches {name} {getattr(stage, name):g} here"
    )
    return result
