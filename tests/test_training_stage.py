"""Every stage that trains takes teachers, views and recipe settings, and is unchanged without them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines.toy import Toy
from compress import backend, registry, zoo
from compress.data.dataset import Split
from compress.findings import CannotTreat
from compress.keras_models.model import KerasModel
from compress.model_files.load import load_model
from compress.pipelines.pipeline import Pipeline
from compress.pipelines.words import stages_of
from compress.runs.context import RunContext
from compress.stages.distill import Distill
from compress.stages.finetune import Finetune
from compress.stages.prune import Prune
from compress.tasks import view as task_view
from compress.tasks.view import TaskView
from compress.training import recovery
from compress.training_stage import SELF, TrainingStage

NAMES = [n for n in registry.stage_names() if issubclass(registry.stage(n), TrainingStage)]
every_stage = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def teacher(tmp_path: Path) -> str:
    path = tmp_path / "teacher.keras"
    backend.keras().utils.set_random_seed(7)
    KerasModel(Toy().build(width=1.5)).save(path)
    return str(path)


class Trained(Exception):
    """Raised instead of a training, with its recipe and its data."""


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(model: Any, recipe: Any, data: Any, **more: Any) -> None:
        raise Trained(recipe, data)

    monkeypatch.setattr(task_view, "fit", raising)
    monkeypatch.setattr(recovery, "fit", raising)
    monkeypatch.setattr(recovery.Trials, "found_rate", lambda _, **__: 0.01)


def asked(name: str, model: KerasModel, view: TaskView, **options: Any) -> tuple[Any, Any]:
    """The recipe and the data of the training that a stage with these options starts."""
    with pytest.raises(Trained) as caught:
        registry.stage(name)(epochs=1, **options).apply(model, view, seed=0)
    return caught.value.args


def test_every_stage_with_epochs_is_a_training_stage() -> None:
    assert set(NAMES) >= {"cluster", "distill", "finetune", "prune", "prune-filters", "qat"}
    for name in set(registry.stage_names()) - set(NAMES):
        assert "epochs" not in {f.name for f in dataclasses.fields(registry.stage(name))}, name


@every_stage
def test_default_teacher_views_and_settings_are_not_in_keys_or_arguments(name: str) -> None:
    stage = registry.stage(name)()
    assert not stage.changed_options().keys() & {"teacher", "alpha", "views", "set"}
    assert stage.files() == []
    assert not {"--teacher", "--alpha", "--views", "--set"} & set(stage.argv())


@every_stage
@pytest.mark.usefixtures("no_training")
def test_alpha_is_the_weight_of_the_teachers(
    name: str, teacher: str, toy_model: KerasModel, toy_view: TaskView
) -> None:
    _, data = asked(name, toy_model, toy_view, teacher=(teacher, SELF), alpha=0.4)
    assert data.distillation.weight == 0.4
    assert [t.params for t in data.distillation.teachers] == [
        KerasModel(Toy().build(width=1.5)).params,
        toy_model.params,
    ]
    assert data.distillation.teachers[1].digest == toy_model.digest
    _, data = asked(name, toy_model, toy_view, teacher=(teacher,))
    assert data.distillation.weight == 0.9
    _, data = asked(name, toy_model, toy_view, alpha=0.5)
    assert [t.digest for t in data.distillation.teachers] == [toy_model.digest]


@every_stage
@pytest.mark.usefixtures("no_training")
def test_alpha_zero_uses_no_teacher(
    name: str, teacher: str, toy_model: KerasModel, toy_view: TaskView
) -> None:
    _, data = asked(name, toy_model, toy_view, teacher=(teacher,), alpha=0.0)
    assert data.distillation is None


@every_stage
@pytest.mark.usefixtures("no_training")
def test_settings_and_views_change_the_recipe(
    name: str, toy_model: KerasModel, toy_view: TaskView
) -> None:
    recipe, _ = asked(name, toy_model, toy_view, views=3, set=("mixup=0.2", "batch_size=32"))
    assert (recipe.views, recipe.mixup, recipe.batch_size, recipe.epochs) == (3, 0.2, 32, 1)
    plain, _ = asked(name, toy_model, toy_view)
    assert plain == dataclasses.replace(recipe, views=0, mixup=0.0, batch_size=plain.batch_size)


@every_stage
@pytest.mark.usefixtures("no_training")
def test_settings_that_contradict_the_recipe_are_refused_before_any_work(
    name: str, toy_model: KerasModel, toy_view: TaskView
) -> None:
    # Every recipe either has no warm-up or has another schedule with a warm-up.
    stage = registry.stage(name)(set=("schedule=triangular", "warmup=0.0"))
    with pytest.raises(ValueError, match=f"^{name}: option 'set': recipe .* has a warmup above 0"):
        Pipeline((stage,)).check(toy_model, toy_view)


@every_stage
def test_dropout_is_refused_before_any_work_if_no_new_network_is_trained(
    name: str, toy_model: KerasModel, toy_view: TaskView
) -> None:
    kept, changed = (registry.stage(name)(set=(f"dropout={rate}",)) for rate in (1.0, 0.1))
    Pipeline((kept,)).check(toy_model, toy_view)  # it changes nothing
    if name != "distill":
        with pytest.raises(ValueError, match=f"^{name}: option 'set': dropout counts only where"):
            Pipeline((changed,)).check(toy_model, toy_view)
        return
    Pipeline((changed,)).check(toy_model, toy_view)
    from_file = dataclasses.replace(changed, student="zoo:toy")
    with pytest.raises(ValueError, match=r"^distill: option 'set': dropout counts only where"):
        Pipeline((from_file,)).check(toy_model, toy_view)


@every_stage
def test_mixup_with_one_view_is_refused_because_it_would_mix_nothing(
    name: str, toy_model: KerasModel, toy_view: TaskView
) -> None:
    stage = registry.stage(name)(views=1, set=("mixup=0.2",))
    with pytest.raises(ValueError, match=f"^{name}: option 'set': .* give 2 or more views"):
        Pipeline((stage,)).check(toy_model, toy_view)
    Pipeline((dataclasses.replace(stage, set=("mixup=0.0",)),)).check(toy_model, toy_view)


@every_stage
def test_a_choice_by_validation_images_that_are_trained_on_is_refused_before_any_work(
    name: str, toy_model: KerasModel, toy_view: TaskView
) -> None:
    view = dataclasses.replace(toy_view, train_on="train+validation")
    stage = registry.stage(name)(epochs=1, set=("schedule=plateau",))
    with pytest.raises(ValueError, match=f"^{name}: schedule = 'plateau' chooses by validation"):
        Pipeline((stage,)).check(toy_model, view)
    Pipeline((stage,)).check(toy_model, toy_view)
    if name in ("cluster", "prune", "prune-filters"):
        untrained = registry.stage(name)(epochs=0, set=("schedule=plateau",))
        Pipeline((untrained,)).check(toy_model, view)


@every_stage
def test_a_schedule_that_tf_keras_lacks_is_refused_before_any_work(
    name: str, toy_model: KerasModel, toy_view: TaskView
) -> None:
    stage = registry.stage(name)(epochs=1, set=("schedule=triangular", "warmup=0.2"))
    if name in ("cluster", "prune", "qat"):
        with pytest.raises(
            ValueError, match=f"^{name}: recipe .* which only training with Keras 3"
        ):
            Pipeline((stage,)).check(toy_model, toy_view)
    else:
        Pipeline((stage,)).check(toy_model, toy_view)
    if name == "qat":
        Pipeline((dataclasses.replace(stage, bits="4"),)).check(toy_model, toy_view)


@every_stage
def test_a_setting_that_is_an_option_or_is_given_twice_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: option 'set': epochs has an option of its own"):
        registry.stage(name)(set=("epochs=3",))
    with pytest.raises(ValueError, match=f"^{name}: option 'set': mixup is set twice"):
        registry.stage(name)(set=("mixup=0.1", "mixup=0.2"))
    with pytest.raises(ValueError, match=f"^{name}: option 'set': no recipe field 'mixpu'"):
        registry.stage(name)(set=("mixpu=0.1",))


@every_stage
def test_a_teacher_of_another_task_is_refused_before_any_work(
    name: str, toy_model: KerasModel, tmp_path: Path
) -> None:
    layers = backend.keras().layers
    image = layers.Input((8, 8, 3))
    scores = layers.Dense(5)(layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(image)))
    backend.keras().Model(image, scores).save(tmp_path / "other.keras")
    stage = registry.stage(name)(teacher=(str(tmp_path / "other.keras"),))
    with pytest.raises(CannotTreat, match=rf"^{name}: the teacher is for images \[8, 8, 3\] and 5"):
        stage.check(toy_model)
    toy_model.to_tflite().save(tmp_path / "t.tflite")
    with pytest.raises(ValueError, match=rf"^{name}: .*is a .tflite file; give a .keras or .h5"):
        registry.stage(name)(teacher=(str(tmp_path / "t.tflite"),)).check(toy_model)


def test_files_lists_teacher_files_without_self(teacher: str) -> None:
    assert Prune(teacher=(teacher, SELF)).files() == [teacher]
    assert Prune(teacher=(SELF,)).argv() == ["prune", "--sparsity", "0.5", "--teacher", "self"]


def test_alpha_zero_is_the_default_only_for_stages_without_a_default_teacher() -> None:
    filters = registry.stage("prune-filters")
    assert filters(alpha=0.0) == filters()
    assert Distill(alpha=0.0) != Distill()
    assert Prune(alpha=0.0) != Prune()


def of_size(view: TaskView, images: int) -> TaskView:
    """The view with that many training images."""
    train = Split(np.zeros((images, 8, 8, 3), np.uint8), np.zeros(images, np.int64))
    return dataclasses.replace(view, train=train, recorded={})


def test_on_little_data_the_dense_model_is_the_teacher_of_prune(
    toy_model: KerasModel, toy_view: TaskView
) -> None:
    def teachers(stage: TrainingStage, images: int) -> list[str]:
        learning = stage.training_view(of_size(toy_view, images), toy_model).distillation
        return [teacher.digest for teacher in learning.teachers] if learning else []

    assert teachers(Prune(), 9_999) == [toy_model.digest]
    assert teachers(Prune(), 10_000) == []
    assert teachers(Prune(alpha=0.0), 9_999) == []
    assert teachers(Finetune(), 9_999) == []


@pytest.mark.parametrize(("images", "epochs"), [(3_000, 15), (5_000, 22), (42_500, 45)])
def test_on_little_data_prune_takes_fewer_epochs_unless_they_are_given(
    images: int, epochs: int, toy_view: TaskView
) -> None:
    view = of_size(toy_view, images)
    assert Prune().for_data(view).epochs == epochs
    assert view.recorded == {"epochs": epochs}
    assert Prune(epochs=45).for_data(view) == Prune(epochs=45)
    assert Prune(epochs=0).for_data(view) == Prune(epochs=0)


@pytest.mark.usefixtures("no_training")
def test_prune_without_given_epochs_trains_for_the_epochs_of_the_data(
    toy_model: KerasModel, toy_view: TaskView
) -> None:
    with pytest.raises(Trained) as caught:
        Prune().apply(toy_model, toy_view, seed=0)
    recipe, _ = caught.value.args
    assert recipe.epochs == toy_view.recorded["epochs"] == 15


@pytest.mark.parametrize("name", ["cluster", "qat"])
@pytest.mark.usefixtures("no_training_undone")
def test_a_teacher_changes_a_training_with_tf_keras(
    name: str, teacher: str, toy_model: KerasModel, toy_view: TaskView
) -> None:
    cls = registry.stage(name)
    taught, alone = (
        cls(epochs=1, learning_rate=0.02, teacher=files).apply(toy_model, toy_view, seed=0)
        for files in ((teacher,), ())
    )
    assert taught.digest != alone.digest


# Statistics of BatchNormalization after a short training


def stale(model: KerasModel) -> KerasModel:
    """The model with BatchNormalization statistics that do not fit its layers."""
    copy = model.copy()
    norm = copy.keras.get_layer("norm1")
    gamma, beta, mean, variance = norm.get_weights()
    norm.set_weights([gamma, beta, mean + 1, variance * 9])
    return copy


def test_stale_statistics_are_renewed_after_a_short_training(
    toy_model: KerasModel, toy_view: TaskView
) -> None:
    view = dataclasses.replace(toy_view, recorded={})
    renewed = Finetune(epochs=1).with_fit_statistics(stale(toy_model), view, seed=0)
    assert view.recorded == {"statistics_renewed": True}
    before, after = (m.keras.get_layer("norm1").moving_mean for m in (toy_model, renewed))
    np.testing.assert_allclose(after, before, atol=0.2)
    for name, kernel in toy_model.kernels().items():
        np.testing.assert_array_equal(renewed.kernels()[name], kernel)


@pytest.mark.parametrize("epochs", [0, 1000])
def test_statistics_are_not_renewed_without_training_or_after_a_long_one(
    epochs: int, toy_model: KerasModel, toy_view: TaskView
) -> None:
    model = stale(toy_model)
    assert Prune(epochs=epochs).with_fit_statistics(model, toy_view, seed=0) is model


def test_the_steps_of_a_short_training_count_all_images_that_it_shows(
    toy_model: KerasModel, toy_view: TaskView, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, stage = stale(toy_model), Finetune(epochs=1)
    steps = len(toy_view.train) // stage.recipe(toy_view).batch_size
    monkeypatch.setattr("compress.training_stage.SHORT", steps + 1)
    more = dataclasses.replace(toy_view, train_on="train+validation", recorded={})
    assert len(more.training_data().shown) // stage.recipe(more).batch_size > steps
    assert stage.with_fit_statistics(model, more, seed=0) is model
    assert stage.with_fit_statistics(model, toy_view, seed=0) is not model


def test_statistics_are_kept_if_renewing_them_does_not_help(
    toy_model: KerasModel, toy_view: TaskView
) -> None:
    wrong = dataclasses.replace(toy_view.validation, labels=(toy_view.validation.labels + 1) % 3)
    view = dataclasses.replace(toy_view, validation=wrong, recorded={})
    model = stale(toy_model)
    assert Finetune(epochs=1).with_fit_statistics(model, view, seed=0) is model
    assert view.recorded == {}


def test_a_zoo_model_is_written_as_typed_and_its_file_changes_the_key(
    context: RunContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A row with the path of an installed file would be valid on that machine only."""
    (stage,) = stages_of("distill --student zoo:toy --teacher zoo:toy --epochs 1")
    assert stage.argv()[-6:] == ["--student", "zoo:toy", "--teacher", "zoo:toy", "--epochs", "1"]
    assert isinstance(stage, Distill)
    toy = zoo.models()["toy"]
    assert stage.loaded("zoo:toy").digest == load_model(toy.file).digest
    before = context.keys.of_pipeline([stage], "m")
    (tmp_path / "toy.keras").write_bytes(b"another")
    other = dataclasses.replace(toy, file=tmp_path / "toy.keras")
    monkeypatch.setattr(zoo, "models", lambda: {"toy": other})
    assert context.keys.of_pipeline([stage], "m") != before
