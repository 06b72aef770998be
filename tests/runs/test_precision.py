"""The precision of a run is given, or decided once by timing and then the same for the same command."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from baselines.toy import Toy
from compress.data.dataset import Dataset
from compress.keras_models.model import KerasModel
from compress.pipelines.pipeline import Pipeline
from compress.runs import precision, provenance, timings
from compress.runs.context import RunContext
from compress.runs.options import RunOptions
from compress.runs.training_run import Training
from compress.stages.distill import Distill
from compress.stages.finetune import Finetune
from compress.stages.prune import Prune
from compress.tasks import view as task_view
from compress.training.recipe import Recipe
from compress.training.recovery import Recovery
from compress.training.training_data import TrainingData
from conftest import Silent


class Clock:
    """Replaces the timing: gives the speedup of bfloat16 and keeps the models that were timed."""

    def __init__(self, gain: float) -> None:
        self.gain, self.timed = gain, list[KerasModel]()

    def __call__(self, network: KerasModel, *_: Any) -> float:
        self.timed.append(network)
        return self.gain


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A processor on which bfloat16 is faster; no training is too short to be timed."""
    clock = Clock(1.4)
    monkeypatch.setattr(timings, "speedup", clock)
    monkeypatch.setattr(precision, "MIN_PIXELS", 1)
    monkeypatch.setattr(provenance, "processor_flags", lambda: {"fpu", "avx512_bf16"})
    return clock


@pytest.fixture
def context(tmp_path: Path, toy_data: Dataset, silent: Silent) -> RunContext:
    return RunContext(
        task=Toy(), data=toy_data, seed=0, out=tmp_path / "runs", results=tmp_path / "rows.jsonl",
        progress=silent, command="compress run ...",
    )  # fmt: skip


FINETUNE = Pipeline((Finetune(epochs=1),))
NARROW = Toy().networks["baseline"].with_options({"width": 0.25})
TRAIN = Training(recipe="toy", network=NARROW, epochs=1)


def decided(pipeline: Pipeline, context: RunContext, model: KerasModel) -> dict[str, Any]:
    """What is decided for a pipeline, without running it."""
    longest = precision.of_pipeline(pipeline.stages, model.digest, context.keys)
    return dict(precision.settled(context, longest, lambda: model).decided)


@pytest.mark.parametrize(
    ("gain", "expected"), [(1.14, {}), (1.15, {"precision": "bfloat16"}), (0.5, {})]
)
def test_bfloat16_is_chosen_only_if_it_is_clearly_faster(
    gain: float, expected: dict[str, str], clock: Clock, context: RunContext, toy_model: KerasModel
) -> None:
    clock.gain = gain
    assert decided(FINETUNE, context, toy_model) == expected
    assert len(clock.timed) == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"precision": "float32"}, {}),
        ({"precision": "bfloat16"}, {"precision": "bfloat16"}),
        ({"precision": "bfloat16", "deterministic": True}, {"precision": "bfloat16"}),
        ({"deterministic": True}, {}),
    ],
)
def test_a_given_precision_or_a_deterministic_run_is_not_timed(
    change: dict[str, Any],
    expected: dict[str, str],
    clock: Clock,
    context: RunContext,
    toy_model: KerasModel,
) -> None:
    assert decided(FINETUNE, dataclasses.replace(context, **change), toy_model) == expected
    assert clock.timed == []


@pytest.mark.parametrize(
    "pipeline",
    [
        Pipeline(()),
        Pipeline((Prune(epochs=3),)),  # by tf_keras
        Pipeline((Finetune(epochs=1),)),  # too short, as it is by default
    ],
)
def test_runs_that_would_not_profit_are_not_timed(
    pipeline: Pipeline,
    clock: Clock,
    context: RunContext,
    toy_model: KerasModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if pipeline == FINETUNE:
        monkeypatch.setattr(precision, "MIN_PIXELS", context.data.train.pixels + 1)
    assert decided(pipeline, context, toy_model) == {}
    assert clock.timed == []


def test_a_processor_without_bfloat16_is_not_timed(
    clock: Clock, context: RunContext, toy_model: KerasModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "processor_flags", lambda: {"fpu", "avx512f"})
    assert decided(FINETUNE, context, toy_model) == {}
    assert clock.timed == []


def test_the_flags_of_a_processor_are_read(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nflags\t\t: fpu amx_bf16\nbugs\t: x\nflags\t: other\n")
    assert provenance.processor_flags(file) == {"fpu", "amx_bf16"}
    assert provenance.processor_flags(tmp_path / "absent") == set()


def test_one_timing_serves_all_seeds_and_all_weights_of_a_network(
    clock: Clock, context: RunContext, toy_model: KerasModel
) -> None:
    first = decided(FINETUNE, context, toy_model)
    clock.gain = 0.5  # a moment later the machine is busy
    for seed in (1, 2):
        assert decided(FINETUNE, dataclasses.replace(context, seed=seed), toy_model) == first
    other = toy_model.copy()
    other.kernel_variables()["conv1"].assign(other.kernels()["conv1"] * 2)
    assert decided(FINETUNE, context, other) == first
    assert len(clock.timed) == 1
    wide = KerasModel(Toy().build(width=2))
    assert decided(FINETUNE, context, wide) == {}
    assert len(clock.timed) == 2


def test_the_longest_training_is_timed_with_the_network_that_it_trains(
    clock: Clock, context: RunContext, toy_model: KerasModel
) -> None:
    brief = Finetune(epochs=1, learning_rate=0.01)
    stages = (brief, Distill(student_width=0.5, epochs=2), brief)
    context = dataclasses.replace(context, seed=3)
    for pipeline in (Pipeline(stages), Pipeline(stages[1:])):
        pipeline.run(toy_model, context)
    (timed,) = clock.timed
    assert timed.kernels()["conv1"].shape[-1] == 4


def test_only_runs_that_train_with_keras_3_get_another_key_and_record_it(
    clock: Clock, context: RunContext, toy_model: KerasModel
) -> None:
    pipeline = Pipeline((Prune(epochs=0), Finetune(epochs=1, learning_rate=0.01)))
    rows = pipeline.run(toy_model, context)
    plain = pipeline.run(toy_model, dataclasses.replace(context, precision="float32"))
    assert [a.run == b.run for a, b in zip(rows, plain, strict=True)] == [True, True, False]
    assert [row.recorded.get("precision") for row in rows] == [None, None, "bfloat16"]
    assert "precision" not in plain[-1].recorded


@pytest.mark.parametrize(
    ("teacher", "expected"), [((), "float32"), (("self",), "bfloat16")], ids=["default", "given"]
)
def test_teachers_of_tf_keras_trainings_compute_in_the_precision_of_the_key(
    teacher: tuple[str, ...],
    expected: str,
    context: RunContext,
    toy_model: KerasModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On little data prune has a teacher by default, which the key does not show."""
    used: list[str] = []

    def untrained(model: Any, recipe: Recipe, data: TrainingData, **_: Any) -> Recovery:
        assert data.distillation is not None
        used.append(data.answered_in or data.precision)
        return Recovery()

    monkeypatch.setattr(task_view, "fit_recovering", untrained)
    pipeline = Pipeline((Prune(epochs=1, learning_rate=0.01, teacher=teacher),))
    row = pipeline.run(toy_model, dataclasses.replace(context, precision="bfloat16"))[-1]
    assert used == [expected]
    assert row.recorded.get("precision", "float32") == expected
    float32 = dataclasses.replace(context, precision="float32")
    assert (row.run == pipeline.run(toy_model, float32)[-1].run) == (expected == "float32")


def test_a_training_from_scratch_is_timed_and_recorded(
    clock: Clock, context: RunContext, tmp_path: Path
) -> None:
    folder, kept = TRAIN.run(context)
    assert kept.row.recorded == {"precision": "bfloat16"}
    plain, _ = TRAIN.run(dataclasses.replace(context, precision="float32"))
    asked, _ = TRAIN.run(dataclasses.replace(context, precision="bfloat16"))
    assert plain != folder == asked
    assert len(clock.timed) == 1
    assert kept.row.run != dataclasses.replace(context).keys.of_training(
        TRAIN.resolved(Toy()), TRAIN.network_of(Toy())
    )


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"networks": {}}', '{"networks": 1, "runs": 2}']
)
def test_a_damaged_file_of_timings_is_replaced(
    content: str, clock: Clock, context: RunContext, toy_model: KerasModel
) -> None:
    path = context.out / timings.NAME
    path.write_text(content)
    assert decided(FINETUNE, context, toy_model) == {"precision": "bfloat16"}
    assert decided(FINETUNE, context, toy_model) == {"precision": "bfloat16"}
    assert len(clock.timed) == 1
    (entry,) = json.loads(path.read_text())["networks"].values()
    assert entry["speedup"] == 1.4


def test_a_remembered_precision_holds_on_a_machine_that_would_not_time(
    clock: Clock, context: RunContext, toy_model: KerasModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = decided(FINETUNE, context, toy_model)
    monkeypatch.setattr(provenance, "processor_flags", set)
    monkeypatch.setattr(provenance, "machine", lambda: "another machine that resumes it")
    assert decided(FINETUNE, context, toy_model) == first
    assert len(clock.timed) == 1


def test_from_python_the_default_is_auto() -> None:
    assert RunOptions(task=Toy()).precision == "auto"
