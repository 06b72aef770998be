"""distill trains a smaller network on its teacher's outputs, and refuses contradicting options before any work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from baselines.toy import Toy
from compress import backend
from compress.data.dataset import Dataset
from compress.keras_models.model import KerasModel
from compress.pipelines.pipeline import Pipeline
from compress.registry import stage as named
from compress.rows.jsonl import read_from
from compress.runs.context import RunContext
from compress.stages.distill import Distill
from compress.tasks.images import Images
from compress.tasks.view import TaskView
from compress.training.distillation import Distillation
from compress.training.seeding import set_seed
from conftest import Silent


@pytest.fixture(scope="module")
def other_task() -> KerasModel:
    layers = backend.keras().layers
    image = layers.Input((8, 8, 3))
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(image))
    return KerasModel(backend.keras().Model(image, layers.Dense(5)(pooled)))


def context_in(folder: Path, data: Dataset, progress: Silent) -> RunContext:
    return RunContext(
        task=Toy(), data=data, seed=0, out=folder / "runs", results=folder / "rows.jsonl",
        progress=progress, command="compress run ...", deterministic=True,
    )  # fmt: skip


def accuracy(model: KerasModel, view: TaskView) -> float:
    scores = model.keras.predict(view.validation.images / np.float32(255), verbose=0)
    return float((scores.argmax(axis=1) == view.validation.labels).mean())


def test_the_student_has_the_width_asked_for(toy_model: KerasModel, toy_view: TaskView) -> None:
    student = Distill(student_width=0.5, epochs=1).apply(toy_model, toy_view, seed=0)
    shapes = {name: kernel.shape for name, kernel in student.kernels().items()}
    assert shapes == {"conv1": (3, 3, 3, 4), "conv2": (3, 3, 4, 4), "logits": (4, 3)}


def test_the_student_learns(toy_model: KerasModel, toy_view: TaskView) -> None:
    student = Distill(student_width=1.5, epochs=8).apply(toy_model, toy_view, seed=0)
    assert accuracy(student, toy_view) > 0.6  # chance is 0.33


def test_training_starts_from_weights_that_the_seed_decides(
    toy_model: KerasModel, toy_view: TaskView
) -> None:
    stage = Distill(epochs=1)
    one, again, other = (
        stage.apply(toy_model, replace(toy_view, deterministic=True), seed=s).digest
        for s in (0, 0, 1)
    )
    assert one == again
    assert one != other


def test_the_outline_has_the_parameters_of_the_trained_student(
    toy_model: KerasModel, toy_view: TaskView
) -> None:
    stage = Distill(student_width=0.25, epochs=1)
    outlined = stage.outline(toy_model, toy_view)
    assert outlined.params == stage.apply(toy_model, toy_view, seed=0).params < toy_model.params


def test_a_student_from_a_file_starts_from_its_weights_and_keeps_its_zeros(
    toy_model: KerasModel, toy_view: TaskView, tmp_path: Path
) -> None:
    set_seed(backend.keras(), 3, deterministic=False)
    student = KerasModel(Toy().build(width=0.5))
    kernel = student.kernel_variables()["conv2"]
    kernel.assign(np.where(np.abs(np.array(kernel)) < 0.1, 0, np.array(kernel)))
    student.save(tmp_path / "student.keras")
    stage = Distill(student=str(tmp_path / "student.keras"), epochs=1)
    trained = stage.apply(toy_model, toy_view, seed=0)
    assert trained.params == student.params
    assert not trained.kernels()["conv2"][student.kernels()["conv2"] == 0].any()
    assert trained.digest != student.digest


def test_teacher_files_replace_the_incoming_model_as_teacher(
    toy_model: KerasModel, toy_view: TaskView, tmp_path: Path
) -> None:
    toy_model.save(tmp_path / "a.keras")
    view = replace(toy_view, deterministic=True)
    shaken = toy_model.copy()
    for variable in shaken.kernel_variables().values():
        variable.assign(-np.array(variable))
    by_file = Distill(teacher=(str(tmp_path / "a.keras"),), epochs=1).apply(shaken, view, seed=0)
    incoming = Distill(epochs=1).apply(toy_model, view, seed=0)
    assert by_file.digest == incoming.digest
    assert Distill(epochs=1).apply(shaken, view, seed=0).digest != incoming.digest


def test_a_model_inside_a_student_from_a_file_is_flattened(
    toy_model: KerasModel, toy_view: TaskView, tmp_path: Path
) -> None:
    """Otherwise its zeros would not be found, and no later stage would know its layers."""
    keras, inner = backend.keras(), Toy().build(width=0.5)
    nested = keras.Sequential([keras.Input(inner.input_shape[1:]), inner])
    KerasModel(nested).save(tmp_path / "student.keras")
    stage = Distill(student=str(tmp_path / "student.keras"))
    assert set(stage.outline(toy_model, toy_view).kernels()) == set(toy_model.kernels())


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_a_model_of_another_task_is_refused_before_any_work(
    role: str, toy_model: KerasModel, other_task: KerasModel, tmp_path: Path
) -> None:
    other_task.save(tmp_path / "other.keras")
    path = str(tmp_path / "other.keras")
    stage = Distill(teacher=(path,)) if role == "teacher" else Distill(student=path)
    with pytest.raises(ValueError, match=rf"the {role} is for images \[8, 8, 3\] and 5 classes"):
        stage.check(toy_model)


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_a_teacher_or_student_with_another_pixel_range_is_reported(
    role: str, toy_model: KerasModel, tmp_path: Path
) -> None:
    keras, path = backend.keras(), str(tmp_path / "raw.keras")
    image = keras.layers.Input((12, 12, 3))
    raw = KerasModel(keras.Model(image, toy_model.keras(keras.layers.Rescaling(1 / 255)(image))))
    raw.save(Path(path))
    stage = Distill(teacher=(path,)) if role == "teacher" else Distill(student=path)
    (finding,) = stage.check(toy_model)
    assert finding.layers == ()
    assert finding.clause.startswith(f"the {role} {path} begins with a Rescaling of pixels from 0")
    assert stage.check(raw) == []


def test_a_nested_functional_student_is_flattened(
    toy_model: KerasModel, toy_view: TaskView, tmp_path: Path
) -> None:
    keras, path = backend.keras(), tmp_path / "nested.keras"
    image = keras.layers.Input((12, 12, 3))
    keras.Model(image, toy_model.keras(image)).save(path)
    student = Distill(student=str(path)).outline(toy_model, toy_view)
    assert student.kernels().keys() == toy_model.kernels().keys()


def test_a_missing_teacher_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"distill: option 'teacher': File '.*gone.keras' does"):
        Distill(teacher=(str(tmp_path / "gone.keras"),))


def test_a_tflite_teacher_is_refused(toy_model: KerasModel, tmp_path: Path) -> None:
    toy_model.to_tflite().save(tmp_path / "t.tflite")
    with pytest.raises(ValueError, match=r"is a .tflite file; give a .keras or .h5 model"):
        Distill(teacher=(str(tmp_path / "t.tflite"),)).check(toy_model)


def test_width_and_file_together_are_refused(toy_model: KerasModel, tmp_path: Path) -> None:
    toy_model.save(tmp_path / "s.keras")
    with pytest.raises(ValueError, match="option 'student_width': a student from a file has its"):
        Distill(student=str(tmp_path / "s.keras"), student_width=0.25)


def test_a_task_without_an_architecture_needs_a_student_file(
    toy_model: KerasModel, toy_view: TaskView, tmp_path: Path
) -> None:
    images = replace(Images(), shape=(12, 12, 3), scale=1 / 255)
    view = replace(toy_view, task=images)
    with pytest.raises(ValueError, match="task images has no architecture to build"):
        Distill(epochs=1).outline(toy_model, view)
    toy_model.save(tmp_path / "student.keras")
    stage = Distill(student=str(tmp_path / "student.keras"), epochs=1)
    assert stage.apply(toy_model, view, seed=0).digest != toy_model.digest
    assert view.recorded["learning_rate"] > 0  # found by trials: the task has no recipe


def test_a_student_trains_at_the_learning_rate_of_the_recipe_or_the_option(
    toy_model: KerasModel, toy_view: TaskView
) -> None:
    view = replace(toy_view, recorded={})
    own = view.scratch_recipe().learning_rate
    stages = (
        Distill(epochs=1),
        Distill(epochs=1, learning_rate=own),
        Distill(epochs=1, learning_rate=own / 2),
    )
    first, same, other = (stage.apply(toy_model, view, seed=0).digest for stage in stages)
    assert first == same != other
    assert view.recorded == {}


def test_alpha_zero_trains_the_student_as_without_a_teacher(
    toy_model: KerasModel, toy_view: TaskView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the same student, augmentation, epochs and seed, and no forward pass of the teacher."""
    view = replace(toy_view, deterministic=True)
    control = Distill(alpha=0.0, epochs=2).apply(toy_model, view, seed=0)
    monkeypatch.setattr(Distillation, "targets", lambda self: pytest.fail("the teacher was asked"))
    alone = view.build(width=0.5, seed=0)
    view.fit_from_scratch(alone, epochs=2, seed=0)
    assert control.digest == KerasModel(alone).digest


# In a pipeline


def test_the_label_of_a_student_from_a_file_has_no_width(tmp_path: Path) -> None:
    path = tmp_path / "student.keras"
    path.touch()
    words = Distill(student=str(path), epochs=3).argv()
    assert words == ["distill", "--student", str(path), "--epochs", "3"]
    assert Distill(epochs=3).argv() == ["distill", "--student-width", "0.5", "--epochs", "3"]


def test_a_run_in_a_renamed_folder_is_found_by_its_key(
    toy_model: KerasModel, toy_data: Dataset, tmp_path: Path
) -> None:
    pipeline = Pipeline((Distill(epochs=1),))
    pipeline.run(toy_model, context_in(tmp_path, toy_data, Silent()))
    (folder,) = (tmp_path / "runs").glob("distill-*")
    older = folder.rename(folder.with_name(f"distill-as-it-was-labelled{folder.name[-13:]}"))
    progress = Silent()
    pipeline.run(toy_model, context_in(tmp_path, toy_data, progress))
    assert any(f"reused from {older}" in note for note in progress.notes)


def test_students_of_one_teacher_share_its_stored_answers(
    toy_model: KerasModel, toy_data: Dataset, tmp_path: Path
) -> None:
    progress = Silent()
    context = context_in(tmp_path, toy_data, progress)
    for width in (0.5, 0.25):
        stage = Distill(student_width=width, views=2, epochs=3, set=("mixup=0.2",))
        Pipeline((stage,)).run(toy_model, context)
    folder = tmp_path / "runs" / "answers" / f"teacher-{toy_model.digest[:12]}"
    assert len(list(folder.glob("view-*.npy"))) == 2
    stored = [n for n in progress.notes if "teachers' answers to 2 views of" in n]
    assert len(stored) == 1
    labels = [row.label for row in read_from(tmp_path / "rows.jsonl")]
    assert labels[1] == "distill --student-width 0.5 --epochs 3 --views 2 --set mixup=0.2"


def test_a_run_is_reused_only_if_its_teacher_file_has_the_same_content(
    toy_model: KerasModel, toy_data: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "teacher.keras"
    toy_model.save(path)
    pipeline = Pipeline((Distill(teacher=(str(path),), epochs=1),))
    pipeline.run(toy_model, context_in(tmp_path, toy_data, Silent()))
    again = Silent()
    pipeline.run(toy_model, context_in(tmp_path, toy_data, again))
    assert [n for n in again.notes if n.startswith("distill") and "reused" in n]
    shaken = toy_model.copy()
    for variable in shaken.kernel_variables().values():
        variable.assign(-np.array(variable))
    shaken.save(path)
    changed = Silent()
    pipeline.run(toy_model, context_in(tmp_path, toy_data, changed))
    assert not [n for n in changed.notes if n.startswith("distill") and "reused" in n]


def test_promises_of_stages_before_distill_are_not_checked_after_it(
    toy_model: KerasModel, toy_data: Dataset, tmp_path: Path
) -> None:
    prune = named("prune")(sparsity=0.5, epochs=0)
    said = Silent()
    context = context_in(tmp_path, toy_data, said)
    rows = Pipeline((prune, Distill(epochs=1))).run(toy_model, context)
    assert rows[1].sparsity == pytest.approx(0.5, abs=0.01)
    assert rows[2].sparsity < 0.1
    assert "distill makes another network, so promises of prune are not checked after it." in (
        said.notes
    )


def test_promises_of_stages_after_distill_are_checked(
    toy_model: KerasModel, toy_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prune = named("prune")(sparsity=0.5, epochs=0)
    monkeypatch.setattr(type(prune), "broken_promises", lambda self, kernels: ["zeros are lost"])
    context = context_in(tmp_path, toy_data, Silent())
    with pytest.raises(ValueError, match="breaks a promise: prune: zeros are lost"):
        Pipeline((Distill(epochs=1), prune)).run(toy_model, context)


def test_a_later_stage_is_checked_against_the_student_before_any_work(
    toy_model: KerasModel, toy_data: Dataset, tmp_path: Path
) -> None:
    prune = named("prune")(skip=("no-such-layer",))
    with pytest.raises(ValueError, match="no layer 'no-such-layer' with a kernel to skip"):
        Pipeline((Distill(), prune)).run(toy_model, context_in(tmp_path, toy_data, Silent()))
    assert not (tmp_path / "rows.jsonl").exists()
