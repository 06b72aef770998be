"""A target that a run must measure becomes an option `macs` of its stage, once, before the run has a key."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from compress import backend
from compress.keras_models.model import KerasModel
from compress.measurement import latency
from compress.pipelines.pipeline import Pipeline
from compress.runs import figures
from compress.runs.context import RunContext
from compress.stage import Stage
from compress.stages import prune_filters
from compress.stages.finetune import Finetune
from compress.stages.prune_filters import PruneFilters
from compress.stages.qat import Qat
from compress.stages.quantize import Quantize
from support import filter_models as zoo
from support.model_zoo import randomised

ASKED = {"epochs": 0, "criterion": "l2", "round_to": 1}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The parameters of each model whose latency was measured; the latency is their share of the whole model's."""
    seen: list[int] = []

    def share(whole: KerasModel, storing: Stage | None) -> Callable[[KerasModel], float]:
        def figure(model: KerasModel) -> float:
            seen.append(model.params)
            return model.params / whole.params

        return figure

    monkeypatch.setattr(figures, "FIGURES", {"latency": share})
    return seen


def test_a_run_measures_once_and_its_row_records_the_asked_latency(
    counted: list[int], context: RunContext, toy_model: KerasModel
) -> None:
    row = Pipeline((PruneFilters(latency=0.6, **ASKED),)).run(toy_model, context)[1]
    assert row.recorded["latency"] == 0.6
    assert row.pipeline[0]["latency"] is None
    assert 0 < row.pipeline[0]["macs"] < 1
    measured = len(counted)
    again = Pipeline((PruneFilters(latency=0.6, **ASKED),)).run(toy_model, context)[1]
    same = Pipeline((PruneFilters(macs=row.pipeline[0]["macs"], **ASKED),)).run(toy_model, context)[
        1
    ]
    assert again == same == row
    assert len(counted) == measured


def test_latency_is_measured_on_the_model_that_enters_the_stage(
    counted: list[int], context: RunContext, toy_model: KerasModel
) -> None:
    first = PruneFilters(macs=0.4, **ASKED)
    stages, asked = figures.settled(
        (first, PruneFilters(latency=0.7, **ASKED), Finetune(epochs=1)), toy_model, context
    )
    assert asked == ({}, {"latency": 0.7}, {})
    assert stages[0] == first
    assert max(counted) < toy_model.params
    (context.out / figures.NAME).write_text('{"a": 1')
    before = len(counted)
    assert figures.settled((PruneFilters(latency=0.7, **ASKED),), toy_model, context)
    assert len(counted) > before


def test_stages_without_a_measured_target_are_unchanged(
    counted: list[int], context: RunContext, toy_model: KerasModel
) -> None:
    stages = (PruneFilters(macs=0.4), Finetune(epochs=1))
    assert figures.settled(stages, toy_model, context) == (stages, ({}, {}))
    assert counted == []


@pytest.fixture(scope="module")
def wide() -> KerasModel:
    k = backend.keras().layers
    image = k.Input((12, 12, 3))
    x = k.ReLU()(k.BatchNormalization()(zoo.conv(k, 24, "first")(image)))
    x = k.GlobalAveragePooling2D()(zoo.conv(k, 16, "second")(x))
    return KerasModel(randomised(backend.keras().Model(image, k.Dense(3)(x))))


@pytest.fixture
def coarsely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search the target in fiftieths of the multiply-accumulates, which halves the measurements."""
    monkeypatch.setattr(prune_filters, "THOUSANDTHS", 50)


@pytest.mark.usefixtures("coarsely")
def test_the_arena_of_the_pruned_model_is_at_most_the_asked_one(
    context: RunContext, wide: KerasModel
) -> None:
    pytest.importorskip("tflite_micro")
    whole = figures.arena_bytes(wide, None)(wide)
    asked = PruneFilters(arena=int(whole * 0.7), epochs=0, criterion="l2")
    ((stage,), _) = figures.settled((asked,), wide, context)
    smaller = stage.outline(wide, context.view(None))
    assert figures.arena_bytes(wide, None)(smaller) <= asked.arena
    impossible = PruneFilters(arena=100, epochs=0, criterion="l2")
    with pytest.raises(ValueError, match=r"prune-filters: the arena of this model is \d+ with"):
        figures.settled((impossible,), wide, context)


@pytest.mark.usefixtures("coarsely")
def test_the_file_has_at_most_the_asked_bytes_and_4_bits_leave_more_filters(
    context: RunContext, wide: KerasModel
) -> None:
    asked, macs = int(figures.file_bytes(wide, None)(wide) * 0.55), []
    for storing in (Quantize(), Quantize(scheme="int4")):
        rows = Pipeline((PruneFilters(flash=asked, **ASKED), storing)).run(wide, context)
        assert asked * 0.9 < rows[2].file_bytes <= asked
        assert rows[1].recorded["flash"] == asked
        macs.append(rows[1].pipeline[0]["macs"])
    in_eight, in_four = macs
    assert in_four < in_eight


@pytest.mark.parametrize(
    "storing",
    [
        Quantize(scheme="int4"),
        Quantize(scheme="int4", keep=("second",)),
        Quantize(scheme="int4", int8_share=0.4),
        Quantize(scheme="int16x8"),
        Qat(epochs=1, learning_rate=0.01),
        Qat(bits="4", epochs=1, learning_rate=0.01),
    ],
    ids=lambda stage: " ".join(stage.argv()),
)
def test_a_stage_predicts_an_upper_bound_of_its_file_bytes(
    context: RunContext, wide: KerasModel, storing: Stage
) -> None:
    made = storing.apply(wide, context.view(None), seed=0)
    most = storing.file_bytes(wide)
    assert 0.85 * most < len(made.content) <= most


def test_a_stage_with_unknown_file_bytes_counts_as_int8(wide: KerasModel) -> None:
    class Silent(Quantize):
        def file_bytes(self, model: KerasModel) -> None:  # type: ignore[override]
            """Unknown, as for a model that qat can train only by tfmot."""

    assert figures.file_bytes(wide, Silent())(wide) == figures.file_bytes(wide, None)(wide)


@pytest.mark.parametrize(
    "storing", [None, Quantize(scheme="int4"), Qat(bits="4", epochs=1)], ids=str
)
def test_an_untrained_model_has_the_file_bytes_of_a_trained_one(
    storing: Stage | None,
) -> None:
    k = backend.keras().layers
    image = k.Input((12, 12, 3))
    x = k.ReLU()(zoo.conv(k, 16, "first")(image))
    x = k.ReLU()(zoo.conv(k, 16, "second")(x))
    x = k.GlobalAveragePooling2D()(zoo.conv(k, 16, "third")(x))
    untrained = backend.keras().Model(image, k.Dense(3)(x))
    bytes_of = figures.file_bytes(KerasModel(untrained), storing)
    before = bytes_of(KerasModel(untrained))
    # Equal scales are stored once too, so a few bytes may differ.
    assert before == pytest.approx(bytes_of(KerasModel(randomised(untrained))), abs=32)


def test_latency_is_the_ratio_to_the_time_of_the_whole_model(
    wide: KerasModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place of a measurement, a file takes as many milliseconds as it has bytes."""

    def milliseconds(files: Sequence[bytes], rounds: int, inputs: int) -> np.ndarray:
        return np.array([[len(content) for content in files]] * rounds, dtype=float)

    monkeypatch.setattr(latency, "milliseconds", milliseconds)
    share, smaller = figures.time_ratio(wide, None), zoo.functional(zoo.plain)
    assert share(wide) == 1
    lengths = [len(model.to_tflite().content) for model in (smaller, wide)]
    assert share(smaller) == pytest.approx(lengths[0] / lengths[1])
