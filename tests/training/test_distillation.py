"""The distillation loss: no gradient where student equals teacher, and none that shrinks with the temperature."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress import backend
from compress.keras_models.model import KerasModel
from compress.stages.distill import Distill
from compress.training.batches import batches
from compress.training.distillation import Distillation
from compress.training.distillation_losses import soft_target_loss, softened
from compress.training.fit import fit
from compress.training.recipe import Recipe
from compress.training.seeding import set_seed
from support.tiny_training import SEED, Tiny, Watcher, train, view

SETTINGS = settings(derandomize=True, deadline=None, max_examples=25)
RECIPE = Recipe(summary="", epochs=4, learning_rate=0.05, batch_size=16, optimizer="sgd", flip=True)


def logits(seed: int, n: int = 6, classes: int = 4, size: float = 2.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, size, (n, classes)).astype(np.float32)


def gradient(teacher: np.ndarray, student: np.ndarray, temperature: float) -> Any:
    tf = backend.tensorflow()
    variable = tf.Variable(student)
    with tf.GradientTape() as tape:
        soft = softened(variable, temperature)
        loss = soft_target_loss(softened(teacher, temperature), soft, temperature)
        total = tf.reduce_sum(loss)
    return tape.gradient(total, variable).numpy()


# The arithmetic


@SETTINGS
@given(st.integers(0, 99), st.floats(0.25, 20))
def test_softened_scores_are_probabilities_in_the_same_order(seed: int, temperature: float) -> None:
    scores = logits(seed)
    soft = np.array(softened(scores, temperature))
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-5)
    assert (np.argsort(soft) == np.argsort(scores)).all()


def test_temperature_one_is_softmax_and_a_high_temperature_is_uniform() -> None:
    scores = np.log(np.array([[1.0, 2.0, 5.0]], np.float32))
    np.testing.assert_allclose(softened(scores, 1.0), [[0.125, 0.25, 0.625]], rtol=1e-5)
    np.testing.assert_allclose(softened(scores, 1e4), np.full((1, 3), 1 / 3), rtol=1e-3)


def test_probabilities_are_softened_like_their_logits() -> None:
    scores = logits(3)
    chances = np.array(softened(scores, 1.0))
    np.testing.assert_allclose(
        softened(chances, 4.0, probabilities=True), softened(scores, 4.0), rtol=1e-4
    )


def test_the_soft_target_loss_equals_the_divergence_computed_by_hand() -> None:
    teacher = np.array([[0.5, 0.5]], np.float32)
    student = np.array([[0.25, 0.75]], np.float32)
    by_hand = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    np.testing.assert_allclose(soft_target_loss(teacher, student, 1.0), [by_hand], rtol=1e-5)
    np.testing.assert_allclose(soft_target_loss(teacher, student, 3.0), [9 * by_hand], rtol=1e-5)


@SETTINGS
@given(seed=st.integers(0, 99), temperature=st.floats(0.5, 10))
def test_a_student_that_equals_its_teacher_has_no_gradient(seed: int, temperature: float) -> None:
    teacher = logits(seed)
    assert np.abs(gradient(teacher, teacher, temperature)).max() < 1e-2
    assert np.abs(gradient(teacher, logits(seed + 100), temperature)).max() > 1e-2


@pytest.mark.parametrize("end", ["min", "max"])
def test_the_lowest_and_highest_temperature_give_a_finite_nonzero_gradient(end: str) -> None:
    (kind,) = [f.metadata["kind"] for f in dataclasses.fields(Distill) if f.name == "temperature"]
    slope = gradient(logits(1, size=5.0), logits(2, size=5.0), getattr(kind, end))
    assert np.isfinite(slope).all()
    assert np.abs(slope).max() > 0


def test_the_gradient_does_not_shrink_as_temperature_grows() -> None:
    teacher, student = logits(0, size=0.05), logits(1, size=0.05)  # small, as in Hinton's argument
    low, high = (np.linalg.norm(gradient(teacher, student, t)) for t in (2.0, 16.0))
    assert high == pytest.approx(low, rel=0.1)


# In training


def taught(distillation: Distillation | None, folder: Any = None, recipe: Recipe = RECIPE) -> Any:
    keras = backend.keras()
    model, progress = Tiny().build(), Watcher()
    set_seed(keras, SEED, deterministic=True)
    task = view(folder, progress)
    fit(model, recipe, dataclasses.replace(task, distillation=distillation), seed=SEED)
    return model, progress


@pytest.fixture(scope="module")
def teacher() -> KerasModel:
    return KerasModel(train().model)


def agreement(model: Any, other: Any) -> float:
    images = view(None, Watcher()).validation.images / np.float32(255)
    answers = (np.array(m(images, training=False)).argmax(axis=1) for m in (model, other))
    return float(np.mean(np.equal(*answers)))


def test_a_student_trained_without_labels_answers_like_its_teacher(teacher: KerasModel) -> None:
    wrong = teacher.copy()  # it calls red green, green blue and blue red
    head = wrong.keras.layers[-1]
    head.set_weights([np.roll(w, 1, axis=-1) for w in head.get_weights()])
    distillation = Distillation(teachers=(wrong,), temperature=2.0, weight=1.0)
    student, _ = taught(distillation, recipe=dataclasses.replace(RECIPE, epochs=12))
    assert agreement(student, wrong.keras) > 0.8
    assert agreement(student, teacher.keras) < 0.2


def test_training_changes_the_student_and_not_the_teacher(teacher: KerasModel) -> None:
    before = teacher.digest
    student, _ = taught(Distillation(teachers=(teacher,)))
    assert teacher.digest == before
    assert not np.array_equal(student.get_weights()[0], Tiny().build().get_weights()[0])


def test_a_teacher_with_weight_zero_changes_nothing(teacher: KerasModel) -> None:
    alone, _ = taught(None)
    beside, _ = taught(Distillation(teachers=(teacher,), weight=0.0))
    for one, other in zip(alone.get_weights(), beside.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_validation_accuracy_and_cross_entropy_are_computed_from_the_labels(
    teacher: KerasModel,
) -> None:
    distillation = Distillation(teachers=(teacher,), weight=1.0)
    student, progress = taught(distillation)
    data = view(None, Watcher()).validation
    scores = np.array(student(data.images / np.float32(255), training=False))
    right = np.mean(scores.argmax(axis=1) == data.labels)
    entropy = -np.mean(np.log(np.array(softened(scores, 1.0))[np.arange(30), data.labels]))
    last = progress.rows[-1]
    assert last["validation_accuracy"] == pytest.approx(right)
    assert last["validation_cross_entropy"] == pytest.approx(entropy, rel=1e-3)
    assert set(last) == set(train().history[-1])


@pytest.mark.parametrize("mixup", [0.0, 0.5])
def test_the_teacher_sees_the_same_images_as_the_student(teacher: KerasModel, mixup: float) -> None:
    data = view(None, Watcher()).train
    seen: list[np.ndarray] = []

    class Spy(Distillation):
        def targets(self, precision: Any = "float32") -> Any:
            of = Distillation.targets(self, precision)

            def spied(images: np.ndarray) -> np.ndarray:
                seen.append(images)
                return of(images)

            return spied

    recipe = Recipe(
        summary="", epochs=1, learning_rate=0.1, batch_size=16, optimizer="sgd", flip=True, crop=1,
        mixup=mixup,
    )  # fmt: skip
    taught(Spy(teachers=(teacher,)), recipe=recipe)
    expected = batches(data, 3, recipe, 1 / 255, SEED, 0)
    assert len(seen) >= 4
    for images in seen[:4]:
        assert np.array_equal(images, next(expected)[0])


def test_several_teachers_teach_the_mean_of_their_probabilities(teacher: KerasModel) -> None:
    other = KerasModel(Tiny().build())
    images = view(None, Watcher()).validation.images / np.float32(255)
    both, one, two = (
        Distillation(teachers=t, temperature=3.0).targets()(images)
        for t in ((teacher, other), (teacher,), (other,))
    )
    np.testing.assert_allclose(both, (one + two) / 2, rtol=1e-5)
    assert both.dtype == np.float32


def test_an_interrupted_distillation_resumes_to_the_same_weights(
    teacher: KerasModel, tmp_path: Any
) -> None:
    distillation = Distillation(teachers=(teacher,))
    whole, unbroken = taught(distillation)

    class Stop(Watcher):
        def epoch(self, row: dict[str, float]) -> None:
            if row["epoch"] == 2:
                raise KeyboardInterrupt

    set_seed(backend.keras(), SEED, deterministic=True)
    with pytest.raises(KeyboardInterrupt):
        fit(
            Tiny().build(),
            RECIPE,
            dataclasses.replace(view(tmp_path, Stop()), distillation=distillation),
            seed=SEED,
        )
    onward, progress = taught(distillation, tmp_path)
    assert [r["epoch"] for r in progress.rows] == [3, 4]
    assert all(map(np.array_equal, whole.get_weights(), onward.get_weights()))
    assert unbroken.rows[-1]["loss"] == progress.rows[-1]["loss"]


def test_a_checkpoint_of_another_temperature_is_not_used(
    teacher: KerasModel, tmp_path: Any
) -> None:
    taught(Distillation(teachers=(teacher,)), tmp_path)
    _, progress = taught(Distillation(teachers=(teacher,), temperature=1.0), tmp_path)
    assert progress.begun[-1] == 0
