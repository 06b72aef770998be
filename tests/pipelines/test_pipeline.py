"""Order is checked first; prefixes are kept and reused; broken promises are errors; killed runs resume."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import click
import numpy as np
import pytest
from compress_round import Round

from compress.data.dataset import Split
from compress.keras_models.model import KerasModel
from compress.measurement import predictions
from compress.pipelines.pipeline import Pipeline
from compress.rows.jsonl import read_from
from compress.rows.result import Result
from compress.runs.context import Made, RunContext
from compress.runs.folder import RunFolder
from compress.stage import Stage, option
from compress.tasks.view import TaskView
from compress.tflite import flatbuffer
from compress.tflite.model import TFLiteModel
from conftest import Silent


@dataclass(frozen=True, kw_only=True)
class Finish(Stage):
    """Export."""

    name: ClassVar = "finish"
    gives: ClassVar = "tflite"

    def apply(self, model: KerasModel, task: TaskView, seed: int) -> TFLiteModel:
        return model.to_tflite()


@dataclass(frozen=True, kw_only=True)
class Boast(Stage):
    """Promise zeros that are not there."""

    name: ClassVar = "boast"

    def apply(self, model: KerasModel, task: TaskView, seed: int) -> KerasModel:
        return model.copy()

    def broken_promises(self, kernels: Mapping[str, np.ndarray]) -> list[str]:
        return [f"{name}: no zeros" for name, kernel in kernels.items() if kernel.all()]


@dataclass(frozen=True, kw_only=True)
class Counted(Stage):
    """Copy, and count how often."""

    name: ClassVar = "counted"
    applied: ClassVar = 0

    def apply(self, model: KerasModel, task: TaskView, seed: int) -> KerasModel:
        Counted.applied += 1
        return model.copy()


@dataclass(frozen=True, kw_only=True)
class Train(Stage):
    """Train on."""

    name: ClassVar = "train-on"
    epochs: int = option(3, click.IntRange(0), "How long.")

    def apply(self, model: KerasModel, task: TaskView, seed: int) -> KerasModel:
        result = model.copy()
        task.fit(result.keras, epochs=self.epochs, learning_rate=0.01, seed=seed)
        return result

    def check(self, model: KerasModel) -> list[str]:
        return ["train-on: a note."]


@dataclass(frozen=True, kw_only=True)
class Decide(Stage):
    """Choose digits by looking at the model, and say so."""

    name: ClassVar = "decide"
    most: int = option(3, click.IntRange(0), "The most digits.")

    def apply(self, model: KerasModel, task: TaskView, seed: int) -> KerasModel:
        task.record("digits", self.most - 1)
        task.record("kernels", sorted(model.kernels()))
        return Round(digits=self.most - 1).apply(model, task, seed)


def reused(silent: Silent) -> list[str]:
    return [n.split(":")[0] for n in silent.notes if "reused" in n]


def test_a_stage_after_a_tflite_file_is_refused_before_any_work() -> None:
    with pytest.raises(
        ValueError, match="finish gives a tflite model but round takes keras: put round before"
    ):
        Pipeline((Finish(), Round()))


def test_prefixes_grow_from_the_baseline() -> None:
    labels = [p.label for p in Pipeline((Round(digits=3), Finish())).prefixes()]
    assert labels == ["baseline", "round --digits 3", "round --digits 3 finish"]


def test_run_gives_a_row_and_a_folder_per_prefix(
    context: RunContext, toy_model: KerasModel
) -> None:
    rows = Pipeline((Round(digits=1), Finish())).run(toy_model, context)
    assert [r.label for r in rows] == ["baseline", "round --digits 1", "round --digits 1 finish"]
    assert read_from(context.results) == rows
    assert {r.model for r in rows} == {toy_model.digest}
    assert [r.params for r in rows] == [toy_model.params, toy_model.params, None]
    for row in rows:
        (folder,) = context.out.glob(f"*-{row.run[:12]}")
        names = {p.name for p in folder.iterdir()} - {".lock"}
        assert names == {"model.tflite", "manifest.json", "predictions.npz"} | (
            {"model.keras"} if row.params else set()
        )
        assert (folder / "model.tflite").stat().st_size == row.file_bytes
    assert set(rows[0].splits) == {"train", "validation", "test"}
    assert len(set(rows[0].splits.values())) == 3


def test_a_tflite_file_is_parsed_once_per_row(
    context: RunContext, toy_model: KerasModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[bytes] = []
    parse = flatbuffer._graph  # read() does nothing else, and is imported by name

    def counted(content: bytes) -> flatbuffer.Graph:
        parsed.append(content)
        return parse(content)

    monkeypatch.setattr(flatbuffer, "_graph", counted)
    (row,) = Pipeline(()).run(toy_model, context)
    assert [len(content) for content in parsed] == [row.file_bytes]


def test_the_same_pipeline_is_reused_and_makes_no_second_row(
    context: RunContext, toy_model: KerasModel, silent: Silent
) -> None:
    first = Pipeline((Round(digits=1),)).run(toy_model, context)
    assert reused(silent) == []
    again = Pipeline((Round(digits=1),)).run(toy_model, context)
    assert again == first
    assert reused(silent) == ["baseline", "round --digits 1"]
    assert len(read_from(context.results)) == 2


def test_shared_prefix_is_computed_once(
    context: RunContext, toy_model: KerasModel, silent: Silent
) -> None:
    Pipeline((Round(digits=1),)).run(toy_model, context)
    rows = Pipeline((Round(digits=1), Round(digits=0))).run(toy_model, context)
    assert reused(silent) == ["baseline", "round --digits 1"]
    assert rows[2].nonzero_params < rows[1].nonzero_params


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"deterministic": False}],
    ids=str,
)
def test_another_seed_determinism_or_option_recomputes_the_run(
    context: RunContext, toy_model: KerasModel, silent: Silent, change: dict[str, Any]
) -> None:
    Pipeline((Round(digits=1),)).run(toy_model, context)
    Pipeline((Round(digits=1),)).run(toy_model, replace(context, **change))
    Pipeline((Round(digits=2),)).run(toy_model, context)
    assert reused(silent) == ["baseline"]


def test_other_incoming_weights_recompute_the_run(
    context: RunContext, toy_model: KerasModel, silent: Silent
) -> None:
    Pipeline(()).run(toy_model, context)
    other = toy_model.copy()
    next(iter(other.kernel_variables().values())).assign_add(0.01 * np.ones((3, 3, 3, 8)))
    Pipeline(()).run(other, context)
    assert reused(silent) == []
    assert len(read_from(context.results)) == 2


def test_fresh_redoes_the_work(context: RunContext, toy_model: KerasModel, silent: Silent) -> None:
    Pipeline((Round(),)).run(toy_model, context)
    Pipeline((Round(),)).run(toy_model, replace(context, fresh=True))
    assert reused(silent) == []
    assert len(read_from(context.results)) == 4


def test_reused_run_is_added_to_another_results_file(
    context: RunContext, toy_model: KerasModel, tmp_path: Path
) -> None:
    rows = Pipeline((Round(),)).run(toy_model, context)
    other = replace(context, results=tmp_path / "other.jsonl")
    Pipeline((Round(),)).run(toy_model, other)
    assert read_from(other.results) == rows


def test_unknown_keys_of_a_manifest_are_added_with_its_row(
    context: RunContext, toy_model: KerasModel
) -> None:
    Pipeline(()).run(toy_model, context)
    (path,) = context.out.glob("*/manifest.json")
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({"result": manifest["result"] | {"watts": 3.5}}))
    context.results.unlink()
    Pipeline(()).run(toy_model, context)
    assert json.loads(context.results.read_text())["watts"] == 3.5


def test_predictions_of_every_row_are_beside_the_results_and_in_the_run_folder(
    context: RunContext, toy_model: KerasModel
) -> None:
    rows = Pipeline((Round(digits=1),)).run(toy_model, context)
    labels = context.data.open_test().labels
    for row in rows:
        (folder,) = context.out.glob(f"*-{row.run[:12]}")
        beside = predictions.file_beside(context.results, row)
        assert beside
        kept = predictions.read(beside, row)
        assert kept.labels.tolist() == labels.tolist()
        assert predictions.read(folder / "predictions.npz", row).digest == kept.digest
    assert len(list((context.results.parent / "results.predictions").iterdir())) == 2


def test_predictions_are_copied_when_a_reused_row_is_added_to_other_results(
    context: RunContext, toy_model: KerasModel, tmp_path: Path
) -> None:
    Pipeline(()).run(toy_model, context)
    other = replace(context, results=tmp_path / "elsewhere" / "other.jsonl")
    (row,) = Pipeline(()).run(toy_model, other)
    (path,) = (tmp_path / "elsewhere" / "other.predictions").iterdir()
    assert predictions.read(path, row).digest == row.predictions


def test_a_row_without_whole_predictions_is_not_added(
    context: RunContext, toy_model: KerasModel, tmp_path: Path
) -> None:
    """The run folder has lost its predictions, or holds damaged ones."""
    Pipeline(()).run(toy_model, context)
    (path,) = context.out.glob("*/predictions.npz")
    path.write_bytes(path.read_bytes()[:100])
    other = replace(context, results=tmp_path / "other.jsonl")
    with pytest.raises(ValueError, match=r"predictions\.npz: not a whole \.npz file"):
        Pipeline(()).run(toy_model, other)
    path.unlink()
    with pytest.raises(ValueError, match=r"there is no such file\): delete its run folder"):
        Pipeline(()).run(toy_model, other)
    assert not other.results.exists()


def test_a_row_from_before_predictions_were_kept_is_added_without_them(
    context: RunContext, toy_model: KerasModel
) -> None:
    Pipeline(()).run(toy_model, context)
    (path,) = context.out.glob("*/manifest.json")
    manifest = json.loads(path.read_text())
    del manifest["result"]["predictions"]
    path.write_text(json.dumps(manifest))
    path.with_name("predictions.npz").unlink()
    context.results.unlink()
    assert [r.predictions for r in Pipeline(()).run(toy_model, context)] == [None]
    assert len(read_from(context.results)) == 1


@pytest.mark.parametrize("content", ['{"half":', "{}", "[]", '{"result": {"top1": 1}}'])
def test_an_unreadable_manifest_is_named(
    content: str, context: RunContext, toy_model: KerasModel
) -> None:
    Pipeline(()).run(toy_model, context)
    (path,) = context.out.glob("*/manifest.json")
    path.write_text(content)
    with pytest.raises(ValueError, match=f"{path} is not the manifest of a finished run.*delete"):
        Pipeline(()).run(toy_model, context)


def test_broken_promise_is_an_error_that_leaves_no_row(
    context: RunContext, toy_model: KerasModel
) -> None:
    with pytest.raises(ValueError, match="breaks a promise: boast: conv1: no zeros"):
        Pipeline((Boast(),)).run(toy_model, context)
    assert [r.label for r in read_from(context.results)] == ["baseline"]
    assert not list(context.out.glob("boast-*/manifest.json"))


def test_a_killed_run_resumes_from_its_last_epoch(
    context: RunContext, toy_model: KerasModel, tmp_path: Path
) -> None:
    whole = Pipeline((Train(),)).run(toy_model, replace(context, out=tmp_path / "unbroken"))

    class Killer(Silent):
        def epoch(self, row: dict[str, float]) -> None:
            if row["epoch"] == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Pipeline((Train(),)).run(toy_model, replace(context, progress=Killer()))
    onward = Silent()
    rows = Pipeline((Train(),)).run(toy_model, replace(context, progress=onward))
    assert [r["epoch"] for r in onward.rows] == [3]
    assert rows[1].tflite_digest == whole[1].tflite_digest


def test_seconds_include_the_epochs_before_a_kill(
    context: RunContext, toy_model: KerasModel
) -> None:
    first = Pipeline((Round(),)).run(toy_model, context)[1]
    (folder,) = context.out.glob(f"*-{first.run[:12]}")
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "log.csv").write_text("epoch,seconds\n1,600\n2,400.5\n")
    (folder / "manifest.json").unlink()
    again = Pipeline((Round(),)).run(toy_model, context)[1]
    assert 1000.5 < again.seconds < 1000.5 + first.seconds + 60


def test_the_note_of_a_stage_is_shown_and_kept_in_its_row(
    context: RunContext, toy_model: KerasModel, silent: Silent
) -> None:
    rows = Pipeline((Train(epochs=0),)).run(toy_model, context)
    assert silent.notes == ["train-on: a note."]
    assert rows[1].notes == ["train-on: a note."]


def test_a_row_records_the_images_trained_on(context: RunContext, toy_model: KerasModel) -> None:
    for trained_on in ("train", "train+validation"):
        made = Made(
            run="0" * 64, exported=toy_model.to_tflite(), model=None, pipeline=[],
            incoming=toy_model.digest, trained_on=trained_on,  # type: ignore[arg-type]
        )  # fmt: skip
        assert context.row(made, "baseline", 0.0)[0].trained_on == trained_on


def test_class_names_that_are_not_utf8_are_escaped_in_a_row(
    context: RunContext, toy_model: KerasModel
) -> None:
    made = Made(
        run="0" * 64, exported=toy_model.to_tflite(), model=None, pipeline=[],
        incoming=toy_model.digest,
    )  # fmt: skip
    named = replace(context, data=replace(context.data, classes=("a", "b\udcff", "c")))
    row = named.row(made, "baseline", 0.0)[0]
    assert row.classes == ["a", "b\\udcff", "c"]
    assert Result.from_json(row.to_json()) == row


def never_opened(context: RunContext) -> RunContext:
    """The context, measured on validation images; opening the test images is an error."""

    def never() -> Split:
        raise AssertionError("opened")

    return replace(context, data=replace(context.data, open_test=never), measured_on="validation")


def test_rows_on_validation_images_open_no_test_images(
    context: RunContext, toy_model: KerasModel
) -> None:
    closed = never_opened(context)
    rows = Pipeline((Round(),)).run(toy_model, closed)
    assert {row.measured_on for row in rows} == {"validation"}
    assert {row.test_images for row in rows} == {len(context.data.validation)}
    assert rows[0].splits.keys() == {"train", "validation"}
    assert read_from(context.results) == rows
    assert Pipeline((Round(),)).run(toy_model, closed) == rows


def test_a_kept_file_is_measured_on_another_split_without_computing_it_again(
    context: RunContext, toy_model: KerasModel, silent: Silent
) -> None:
    pipeline = Pipeline((Counted(),))
    Counted.applied = 0
    first = pipeline.run(toy_model, never_opened(context))
    second = pipeline.run(toy_model, context)
    assert Counted.applied == 1
    assert [row.measured_on for row in second] == ["test", "test"]
    assert [row.run for row in second] == [row.run for row in first]
    assert [row.tflite_digest for row in second] == [row.tflite_digest for row in first]
    assert second[1].top1 != first[1].top1
    assert read_from(context.results) == [*first, *second]
    for row in (*first, *second):
        (folder,) = context.out.glob(f"*-{row.run[:12]}")
        beside = predictions.file_beside(context.results, row)
        assert beside
        for path in (beside, RunFolder(folder).predictions_file(row)):
            assert len(predictions.read(path, row).labels) == row.test_images
    assert pipeline.run(toy_model, context) == second
    assert pipeline.run(toy_model, never_opened(context)) == first


def test_values_that_a_stage_records_are_in_its_row_and_manifest(
    context: RunContext, toy_model: KerasModel
) -> None:
    pipeline = Pipeline((Decide(most=2), Round(digits=0)))
    rows = pipeline.run(toy_model, context)
    decided = {"digits": 1, "kernels": sorted(toy_model.kernels())}
    assert [row.recorded for row in rows] == [{}, decided, {}]
    assert read_from(context.results) == rows
    assert [row.recorded for row in pipeline.run(toy_model, context)] == [{}, decided, {}]


def test_folder_that_cannot_be_written_is_refused_at_once(
    context: RunContext, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        OSError, match=r"cannot write to .*Name another folder with --out or --results"
    ):
        replace(context, out=tmp_path / "file" / "runs")
