"""Stored answers teach like the teacher itself, are computed once, and are recomputed if they are damaged."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from compress import backend
from compress.keras_models.model import KerasModel
from compress.training import epoch_batches, stored_answers
from compress.training.distillation import Distillation
from compress.training.fit import fit
from compress.training.precision import Precision
from compress.training.recipe import Recipe
from compress.training.stored_answers import StoredAnswers
from compress.training.views import Views
from support.tiny_training import SEED, Tiny, Watcher, train, view

RECIPE = Recipe(
    summary="", epochs=4, learning_rate=0.05, batch_size=16, optimizer="sgd", flip=True, crop=1,
    mixup=0.5, mixup_until=1.0, views=4,
)  # fmt: skip
DATA = view(None, Watcher()).train
VIEWS = Views(DATA, 3, RECIPE, 1 / 255, SEED)
ALL = np.arange(66)


@pytest.fixture(scope="module")
def teacher() -> KerasModel:
    return KerasModel(train().model)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images in each call of a teacher."""
    counts: list[int] = []
    answering = stored_answers._answering

    def counted(model: KerasModel, *others: Any) -> Callable[[np.ndarray], np.ndarray]:
        answer = answering(model, *others)

        def counting(images: np.ndarray) -> np.ndarray:
            counts.append(len(images))
            return answer(images)

        return counting

    monkeypatch.setattr(stored_answers, "_answering", counted)
    return counts


def prepared(teacher: KerasModel, folder: Path | None, views: Views = VIEWS) -> Watcher:
    progress = Watcher()
    StoredAnswers([teacher], views, folder, progress).prepare()
    return progress


def stored(folder: Path) -> list[Path]:
    return sorted(folder.glob("teacher-*/view-*.npy"))


def taught(
    distillation: Distillation | None,
    recipe: Recipe = RECIPE,
    answers: Path | None = None,
    checkpoints: Path | None = None,
    progress: Watcher | None = None,
) -> Any:
    data = dataclasses.replace(
        view(checkpoints, progress or Watcher()), distillation=distillation, answers=answers
    )
    model = Tiny().build()
    fit(model, recipe, data, seed=SEED)
    return model


class Online(StoredAnswers):
    """One teacher, which answers every batch as it is drawn."""

    def prepare(self) -> None:
        """Nothing."""

    def of(self, view: Any, chosen: np.ndarray) -> list[np.ndarray]:
        images, _ = view.batch(chosen)
        return [np.array(self.teachers[0].keras.predict_on_batch(images))]


def test_stored_answers_train_the_same_student_as_the_teacher_itself(
    teacher: KerasModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    distillation = Distillation(teachers=(teacher,))
    by_file = taught(distillation, answers=tmp_path)
    in_memory = taught(distillation)
    monkeypatch.setattr(epoch_batches, "StoredAnswers", Online)
    online = taught(distillation)
    alone = taught(None)
    weights = [m.get_weights() for m in (by_file, in_memory, online, alone)]
    for file, memory, asked in zip(*weights[:3], strict=True):
        assert np.array_equal(file, memory)
        np.testing.assert_allclose(file, asked, rtol=2e-3, atol=2e-4)  # float16 has 11 bits
    assert max(np.abs(f - n).max() for f, n in zip(weights[0], weights[3], strict=True)) > 0.01


def test_the_teacher_answers_each_view_once(
    teacher: KerasModel, asked: list[int], tmp_path: Path
) -> None:
    taught(Distillation(teachers=(teacher,)), dataclasses.replace(RECIPE, epochs=9), tmp_path)
    assert sum(asked) == 4 * 66
    assert len(stored(tmp_path)) == 4


def test_a_student_with_another_temperature_reuses_the_answers(
    teacher: KerasModel, asked: list[int], tmp_path: Path
) -> None:
    taught(Distillation(teachers=(teacher,)), answers=tmp_path)
    asked.clear()
    taught(Distillation(teachers=(teacher,), temperature=1.0), answers=tmp_path)
    assert asked == []


def test_a_student_with_another_seed_reuses_the_answers(
    teacher: KerasModel, asked: list[int], tmp_path: Path
) -> None:
    prepared(teacher, tmp_path)
    asked.clear()
    prepared(teacher, tmp_path, dataclasses.replace(VIEWS, seed=7))
    assert asked == []


def test_more_views_compute_only_the_new_answers(
    teacher: KerasModel, asked: list[int], tmp_path: Path
) -> None:
    prepared(teacher, tmp_path)
    asked.clear()
    more = dataclasses.replace(RECIPE, views=6, epochs=8)
    prepared(teacher, tmp_path, dataclasses.replace(VIEWS, recipe=more))
    assert sum(asked) == 2 * 66


@pytest.mark.parametrize(
    "change",
    [{"recipe": dataclasses.replace(RECIPE, crop=2)}, {"scale": 1.0}],
    ids=["augmentation", "scale"],
)
def test_other_views_have_their_own_answers(
    teacher: KerasModel, change: dict[str, Any], tmp_path: Path
) -> None:
    prepared(teacher, tmp_path)
    prepared(teacher, tmp_path, dataclasses.replace(VIEWS, **change))
    assert len(stored(tmp_path)) == 8


def test_unmixed_views_are_shared_with_a_training_without_mixup(
    teacher: KerasModel, tmp_path: Path
) -> None:
    prepared(teacher, tmp_path)
    whole = dataclasses.replace(RECIPE, mixup=0.0)
    prepared(teacher, tmp_path, dataclasses.replace(VIEWS, recipe=whole))
    assert len(stored(tmp_path)) == 6


def test_several_teachers_teach_the_mean_of_their_probabilities(teacher: KerasModel) -> None:
    both = (teacher, KerasModel(Tiny().build()))
    distillation = Distillation(teachers=both, temperature=2.0)
    answers = StoredAnswers(both, VIEWS, None, Watcher())
    answers.prepare()
    shown = VIEWS.view(1)
    expected = distillation.targets()(shown.batch(ALL)[0])
    given = distillation.mean_softened(answers.of(shown, ALL))
    np.testing.assert_allclose(given, expected, atol=1e-3)


def test_bfloat16_answers_equal_those_of_an_online_bfloat16_teacher(
    teacher: KerasModel, tmp_path: Path
) -> None:
    distillation = Distillation(teachers=(teacher,), temperature=2.0)
    shown = VIEWS.view(1)
    both: tuple[Precision, ...] = ("float32", "bfloat16")
    exact, beside = (distillation.targets(each)(shown.batch(ALL)[0]) for each in both)
    given = []
    for precision in both:
        answers = StoredAnswers([teacher], VIEWS, tmp_path, Watcher(), precision)
        answers.prepare()
        given.append(distillation.mean_softened(answers.of(shown, ALL)))
    assert len(stored(tmp_path)) == 8
    assert np.abs(exact - beside).max() > 3e-4
    for stored_answer, online in zip(given, (exact, beside), strict=True):
        np.testing.assert_allclose(stored_answer, online, atol=2e-4)


def test_a_bfloat16_training_runs_its_teacher_in_bfloat16(
    teacher: KerasModel, tmp_path: Path
) -> None:
    distillation = Distillation(teachers=(teacher,))
    asked: list[str] = []

    class Spy(Distillation):
        def targets(self, precision: Any = "float32") -> Any:
            asked.append(precision)
            return Distillation.targets(self, precision)

    data = dataclasses.replace(view(None, Watcher()), precision="bfloat16")
    online = dataclasses.replace(RECIPE, views=0)
    spied = dataclasses.replace(data, distillation=Spy(teachers=(teacher,)))
    next(epoch_batches.epoch_batches(spied, 3, online, SEED, 0))
    assert asked == ["bfloat16"]
    apart = dataclasses.replace(spied, precision="float32", answered_in="bfloat16")
    next(epoch_batches.epoch_batches(apart, 3, online, SEED, 0))
    assert asked == ["bfloat16", "bfloat16"]
    prepared(teacher, tmp_path)
    data = dataclasses.replace(data, distillation=distillation, answers=tmp_path)
    next(epoch_batches.epoch_batches(data, 3, RECIPE, SEED, 0))
    assert len(stored(tmp_path)) == 8
    apart = dataclasses.replace(data, precision="float32", answered_in="bfloat16")
    next(epoch_batches.epoch_batches(apart, 3, RECIPE, SEED, 0))
    assert len(stored(tmp_path)) == 8  # no teacher had to answer again


def test_probabilities_of_a_teacher_are_stored_as_logarithms(
    teacher: KerasModel,
) -> None:
    keras = backend.keras()
    softmax = keras.Model(teacher.keras.inputs, keras.layers.Softmax()(teacher.keras.outputs[0]))
    one, other = (
        StoredAnswers([m], VIEWS, None, Watcher()) for m in (teacher, KerasModel(softmax))
    )
    one.prepare()
    other.prepare()
    shown = VIEWS.view(0)
    np.testing.assert_allclose(one.of(shown, ALL), other.of(shown, ALL), atol=2e-2)


def test_interrupted_answers_resume_at_the_next_view(
    teacher: KerasModel, asked: list[int], tmp_path: Path
) -> None:
    class Stop(Watcher):
        def note(self, sentence: str) -> None:
            if "2 of 4 views answered" in sentence:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        StoredAnswers([teacher], VIEWS, tmp_path, Stop()).prepare()
    assert len(stored(tmp_path)) == 2
    asked.clear()
    prepared(teacher, tmp_path)
    assert sum(asked) == 2 * 66


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut off": lambda p: p.write_bytes(p.read_bytes()[:-40]),
    "digest cut off": lambda p: p.write_bytes(p.read_bytes()[:-1]),
    "longer": lambda p: p.write_bytes(p.read_bytes() + b"\0"),
    "empty": lambda p: p.write_bytes(b""),
    "a byte changed": lambda p: p.write_bytes(p.read_bytes()[:-50] + b"\1" + p.read_bytes()[-49:]),
    "of another shape": lambda p: np.save(p, np.zeros((3, 3), np.float16)),
    "of another type": lambda p: np.save(p, np.zeros((66, 3), np.float32)),
    "pickled": lambda p: np.save(p, np.array([[{}] * 3] * 66, object), allow_pickle=True),
    "no header": lambda p: p.write_bytes(b"\x93NUMPY\x01\0\x10\0(((((((((((((((("),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_file_is_reported_and_recomputed(
    what: str, teacher: KerasModel, asked: list[int], tmp_path: Path
) -> None:
    prepared(teacher, tmp_path)
    path, before = stored(tmp_path)[2], stored(tmp_path)[2].read_bytes()
    DAMAGES[what](path)
    assert path.read_bytes() != before
    asked.clear()
    notes = prepared(teacher, tmp_path).notes
    assert sum(asked) == 66
    assert [n for n in notes if n.startswith(f"{path} is damaged (")]
    assert path.read_bytes() == before


def test_one_view_is_open_at_a_time(teacher: KerasModel, tmp_path: Path) -> None:
    """Thousands of views would be more open files than a process may have."""
    answers = StoredAnswers([teacher, teacher], VIEWS, tmp_path, Watcher())
    answers.prepare()
    for number in (0, 1, 3, 1):
        assert [a.shape for a in answers.of(VIEWS.view(number), ALL[:5])] == [(5, 3)] * 2
        assert set(answers._held) == {(0, number), (1, number)}


def test_answers_deleted_during_training_are_reported(teacher: KerasModel, tmp_path: Path) -> None:
    answers = StoredAnswers([teacher], VIEWS, tmp_path / "answers", Watcher())
    answers.prepare()
    shutil.rmtree(tmp_path / "answers")
    with pytest.raises(ValueError, match="are gone: give the same command again"):
        answers.of(VIEWS.view(0), ALL)


def test_a_link_is_not_followed(teacher: KerasModel, tmp_path: Path) -> None:
    prepared(teacher, tmp_path / "answers")
    path = stored(tmp_path / "answers")[0]
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=f"{path} is a link"):
        prepared(teacher, tmp_path / "answers")


def test_the_first_note_gives_the_size_of_the_answers(teacher: KerasModel, tmp_path: Path) -> None:
    first = prepared(teacher, tmp_path).notes[0]
    assert first == (f"teachers' answers to 4 views of 66 images are stored in {tmp_path}, 1.6 KB")


def test_a_disk_without_room_for_the_answers_is_refused(
    teacher: KerasModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(
        ValueError, match=r"take 1.6 KB, but .* has 1.0 KB free: give fewer --views"
    ):
        prepared(teacher, tmp_path)
    assert stored(tmp_path) == []


def test_a_teacher_that_answers_nan_is_refused(teacher: KerasModel, tmp_path: Path) -> None:
    diverged = teacher.copy()
    diverged.keras.layers[-1].set_weights(
        [w * np.nan for w in teacher.keras.layers[-1].get_weights()]
    )
    with pytest.raises(ValueError, match="the teacher answers some images with NaN or infinity"):
        prepared(diverged, tmp_path)
    assert stored(tmp_path) == []


def test_an_interrupted_distillation_resumes_to_the_same_weights(
    teacher: KerasModel, tmp_path: Path
) -> None:
    distillation = Distillation(teachers=(teacher,))
    whole = taught(distillation)

    class Stop(Watcher):
        def epoch(self, row: dict[str, float]) -> None:
            if row["epoch"] == 2:
                raise KeyboardInterrupt

    folders = {"answers": tmp_path / "answers", "checkpoints": tmp_path / "run"}
    with pytest.raises(KeyboardInterrupt):
        taught(distillation, progress=Stop(), **folders)
    onward = taught(distillation, **folders)
    assert all(map(np.array_equal, whole.get_weights(), onward.get_weights()))
