"""Augmentation is used only if the incoming model classifies augmented images as well as plain ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compress import backend, training_stage
from compress.data.dataset import Split
from compress.keras_models.model import KerasModel
from compress.stages.cluster import Cluster
from compress.stages.finetune import Finetune
from compress.stages.prune import Prune
from compress.stages.prune_filters import PruneFilters
from compress.tasks.images import Images
from compress.tasks.view import TaskView
from compress.training.augmentation import harmless_augmentation, loses
from compress.training.validation import Judged
from support.tiny_training import Watcher

SIZE = 24
FIND = ("find_augmentation=true",)


def dots(n: int = 300) -> Split:
    """Images with a bright dot in the left third (class 0), in the middle one (1) or in the right one (2)."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    images = rng.integers(0, 40, (n, SIZE, SIZE, 1)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        left, top = (3, 11, 19)[label], rng.integers(4, SIZE - 6)
        image[top : top + 2, left : left + 2] = 250
    return Split(images, labels)


def where_the_dot_is() -> KerasModel:
    """A model that classifies an image by the third that holds its brightest place."""
    keras = backend.keras()
    k = keras.layers
    image = k.Input((SIZE, SIZE, 1))
    x = k.MaxPooling2D((SIZE, SIZE // 3))(k.AveragePooling2D(2, 1, "same")(image))
    model = keras.Model(image, k.Dense(3, use_bias=False)(k.Flatten()(x)))
    model.layers[-1].set_weights([np.eye(3, dtype=np.float32)])
    return KerasModel(model)


def test_mirroring_that_changes_the_class_is_not_harmless() -> None:
    """A mirrored left dot is a right dot. A dot shifted by three pixels stays in its third."""
    assert harmless_augmentation(where_the_dot_is(), dots(), 1 / 255) == {"crop": 3}


def brightness() -> tuple[KerasModel, Split]:
    """A model that tells dark, gray and bright images apart, and such images."""
    keras = backend.keras()
    image = keras.layers.Input((SIZE, SIZE, 1))
    x = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(image))
    model = keras.Model(image, x)
    model.layers[-1].set_weights([np.float32([[-8, 0, 8]]), np.float32([3, 1.5, -4])])
    rng = np.random.default_rng(1)
    labels = np.arange(300) % 3
    means = np.array([20, 110, 230])[labels].reshape(-1, 1, 1, 1)
    images = (means + rng.integers(-20, 20, (300, SIZE, SIZE, 1))).astype(np.uint8)
    return KerasModel(model), Split(images, labels)


def test_augmentation_that_keeps_the_accuracy_is_found() -> None:
    model, images = brightness()
    assert harmless_augmentation(model, images, 1 / 255) == {"flip": True, "crop": 3}


def test_a_model_that_is_always_wrong_finds_no_augmentation() -> None:
    model, images = brightness()
    turned = Split(images.images, (images.labels + 1) % 3)
    assert harmless_augmentation(model, turned, 1 / 255) == {}


def test_normalized_images_give_the_same_augmentation() -> None:
    model, images = brightness()
    normalized = Split(images.images / np.float32(255), images.labels)
    assert harmless_augmentation(model, normalized, 1.0) == {"flip": True, "crop": 3}


def test_features_are_not_augmented() -> None:
    model, images = brightness()
    features = Split(images.images[:, :, :, 0].astype(np.float32), images.labels)
    assert harmless_augmentation(model, features, 1 / 255) == {}


def test_the_size_of_an_image_bounds_the_shift() -> None:
    model, images = brightness()
    tiny = Split(images.images[:, :3, :3], images.labels)
    keras = backend.keras()
    image = keras.layers.Input((3, 3, 1))
    small = keras.Model(image, model.keras.layers[-1](keras.layers.GlobalAveragePooling2D()(image)))
    assert harmless_augmentation(KerasModel(small), tiny, 1 / 255) == {"flip": True}


def judged(right: Any) -> Judged:
    return Judged(np.zeros(len(right)), np.array(right, bool))


@pytest.mark.parametrize(
    ("right", "most"),
    [(999, 10), (950, 10), (900, 20), (800, 30), (600, 30)],  # of a thousand
)
def test_a_fifth_more_errors_is_accepted_within_one_to_three_points(right: int, most: int) -> None:
    labels = np.zeros(1000, np.int64)
    plain = np.arange(1000) < right
    for lost, expected in ((most - 1, False), (most + 1, True)):
        changed = plain & (np.arange(1000) >= lost)
        assert loses(judged(plain), judged(changed), labels) is expected


def test_losing_one_class_counts_however_many_classes_there_are() -> None:
    labels = np.arange(2000) % 100
    changed = labels != 7
    assert loses(judged(np.ones(2000)), judged(changed), labels)
    # A single image of each class is chance.
    one_each = np.arange(2000) >= 15
    assert not loses(judged(np.ones(2000)), judged(one_each), labels)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ((), {"flip": True, "crop": 3}),
        (("find_augmentation=false",), None),
        (("flip=true",), None),
        (("crop=1",), None),
    ],
)
def test_a_stage_uses_the_found_augmentation_unless_settings_say_otherwise(
    settings: tuple[str, ...], expected: dict[str, Any] | None
) -> None:
    model, images = brightness()
    progress = Watcher()
    task = Images(shape=(SIZE, SIZE, 1), scale=1 / 255)
    view = TaskView(task, images, images, None, progress)
    stage = Finetune(epochs=1, learning_rate=0.001, set=settings)
    given = stage.training_view(view, model)
    recipe = given.finetuning_recipe()
    assert given.recorded.get("augmentation") == expected
    if expected:
        assert {"flip": recipe.flip, "crop": recipe.crop} == expected
        assert any("mirrored and shifted by up to 3 pixels" in said for said in progress.notes)
    else:
        assert recipe.flip == ("flip=true" in settings)
        assert recipe.crop == ("crop=1" in settings)


def test_the_augmentation_search_uses_the_incoming_model(
    toy_model: KerasModel, toy_view: TaskView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model without half of its filters may guess, and would find no augmentation."""
    asked: list[str] = []

    def spy(model: KerasModel, *_: Any) -> dict[str, Any]:
        asked.append(model.digest)
        return {}

    monkeypatch.setattr(training_stage, "harmless_augmentation", spy)
    monkeypatch.setattr(TaskView, "fit", lambda *_, **__: None)
    stages = [
        PruneFilters(macs=0.5, epochs=1, set=FIND),
        Prune(sparsity=0.9, epochs=1, set=FIND),
        Cluster(clusters=2, epochs=1, set=FIND),
    ]
    for stage in stages:
        stage.apply(toy_model, toy_view, 0)
    assert asked == [toy_model.digest] * 3


def test_features_without_height_and_width_start_no_search() -> None:
    model, images = brightness()
    features = Split(images.images[:, :, 0].astype(np.float32), images.labels)
    view = TaskView(Images(shape=(SIZE, 1), scale=1.0), features, features, None, Watcher())
    assert Finetune(epochs=1).training_view(view, model).recorded == {}


def test_a_stage_without_epochs_starts_no_search() -> None:
    model, images = brightness()
    view = TaskView(Images(shape=(SIZE, SIZE, 1), scale=1 / 255), images, images, None, Watcher())
    assert Prune(epochs=0).training_view(view, model).recorded == {}
