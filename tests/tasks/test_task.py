"""Splits are deterministic, class-balanced and disjoint; a stage's view holds no test set."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.data.dataset import Split
from compress.data.splits import content_order, split_by_class
from compress.tasks.view import TaskView
from compress.training.distillation import Distillation


def images_of(n: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8), np.arange(n) % classes


@given(seed=st.integers(0, 1000), shuffle=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_split_does_not_depend_on_the_order_of_files(seed: int, shuffle: int) -> None:
    images, labels = images_of(60, 3, seed)
    order = np.random.default_rng(shuffle).permutation(60)
    one = split_by_class(images, labels, 0.15)
    other = split_by_class(images[order], labels[order], 0.15)
    assert [s.digest for s in one] == [s.digest for s in other]


def test_splits_are_disjoint_complete_and_balanced() -> None:
    images, labels = images_of(400, 4, seed=1)
    train, validation = split_by_class(images, labels, 0.15)
    assert np.bincount(validation.labels).tolist() == [15] * 4
    assert np.bincount(train.labels).tolist() == [85] * 4
    seen = {image.tobytes() for split in (train, validation) for image in split.images}
    assert len(seen) == 400


def test_images_keep_their_labels() -> None:
    images, labels = images_of(100, 5, seed=2)
    known = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    for split in split_by_class(images, labels, 0.2):
        assert [known[i.tobytes()] for i in split.images] == split.labels.tolist()


def test_a_proportional_subset_is_split_like_the_whole() -> None:
    images, labels = images_of(600, 3, seed=3)
    train, validation = split_by_class(images, labels, 0.25)
    chosen = [
        np.flatnonzero(s.labels == c)[:n]
        for c in range(3)
        for s, n in ((train, 30), (validation, 10))
    ]
    parts = [train, validation] * 3
    subset = np.concatenate([p.images[i] for p, i in zip(parts, chosen, strict=True)])
    of = np.concatenate([p.labels[i] for p, i in zip(parts, chosen, strict=True)])
    small_train, small_validation = split_by_class(subset, of, 0.25)
    whole = {image.tobytes() for image in validation.images}
    assert all(i.tobytes() in whole for i in small_validation.images)
    assert not any(i.tobytes() in whole for i in small_train.images)


def test_another_seed_gives_another_split() -> None:
    images, labels = images_of(100, 2, seed=4)
    assert (
        split_by_class(images, labels, 0.5, 0)[0].digest
        != split_by_class(images, labels, 0.5, 1)[0].digest
    )
    assert sorted(content_order(images, labels, 7)) == list(range(100))


def test_digest_changes_with_any_pixel_label_or_order() -> None:
    images, labels = images_of(10, 2, seed=5)
    known = Split(images, labels).digest
    touched = images.copy()
    touched[3, 0, 0, 0] ^= 1
    assert Split(touched, labels).digest != known
    assert Split(images, labels[::-1]).digest != known
    assert Split(images[::-1], labels[::-1]).digest != known
    assert Split(images.copy(), labels.copy()).digest == known


def test_a_task_view_has_no_field_for_the_test_set(toy_view: TaskView) -> None:
    names = {f.name for f in dataclasses.fields(toy_view)}
    assert names == {
        "task", "train", "validation", "checkpoints", "progress", "deterministic", "distillation",
        "answers", "precision", "train_on", "answered_in", "recipe_changes", "recorded",
    }  # fmt: skip


def test_recorded_values_are_copied_and_the_last_one_is_kept(toy_view: TaskView) -> None:
    kept = ["a", "b"]
    toy_view.record("teachers", kept)
    toy_view.record("learning_rate", 0.1)
    toy_view.record("learning_rate", np.float64(0.02))
    kept.append("c")
    taught = toy_view.with_distillation(Distillation(teachers=()))
    taught.record("precision", {"weights": "int8", "signed": True, "bias": None})
    assert toy_view.recorded == {
        "teachers": ["a", "b"],
        "learning_rate": 0.02,
        "precision": {"weights": "int8", "signed": True, "bias": None},
    }


def test_two_views_record_separately(toy_view: TaskView) -> None:
    other = TaskView(*(getattr(toy_view, f.name) for f in dataclasses.fields(toy_view)[:5]))
    other.record("a", 1)
    assert toy_view.recorded == {}


@pytest.mark.parametrize(
    "value",
    [
        float("nan"), float("inf"), b"bytes", np.float32(0.5), np.zeros(2), (1, 2), {1: "one"},
        [{"a": {1, 2}}], object(),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_value_that_a_row_cannot_hold_is_not_recorded(value: object, toy_view: TaskView) -> None:
    with pytest.raises(
        ValueError, match=r"record\('rate', .*expected a name, and a number, a text, a bool"
    ):
        toy_view.record("rate", value)
    assert toy_view.recorded == {}


def test_a_list_that_holds_itself_is_not_recorded(toy_view: TaskView) -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(ValueError, match=r"record\('endless', "):
        toy_view.record("endless", endless)


@pytest.mark.parametrize("name", ["", 3])
def test_a_recorded_value_must_have_a_name(name: object, toy_view: TaskView) -> None:
    with pytest.raises(ValueError, match="expected a name"):
        toy_view.record(name, 1)  # type: ignore[arg-type]
