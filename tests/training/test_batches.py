"""Batches are augmented as asked, and depend only on seed and epoch."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from compress.data.dataset import Split
from compress.training.batches import Draws, augmented, batches, check_augmentation, shares_of
from support.tiny_training import RECIPES, split

SETTINGS = settings(derandomize=True, deadline=None)
IMAGES = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 5), st.integers(3, 7), st.integers(3, 7), st.just(3))
)
SEEDS = st.integers(0, 2**32)


def augment(images: np.ndarray, flip: bool, crop: int, rng: np.random.Generator) -> np.ndarray:
    """Mirror half of the images, then crop each at random."""
    return augmented(images, Draws.of(len(images), flip, crop, rng))


@SETTINGS
@given(IMAGES, SEEDS)
def test_without_flip_and_crop_images_stay_as_they_are(images: np.ndarray, seed: int) -> None:
    assert np.array_equal(augment(images, False, 0, np.random.default_rng(seed)), images)


def test_normalized_images_are_mirrored_and_cropped_like_8_bit_images() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 6, 6, 3), dtype=np.uint8)
    exact, normalized = (
        augment(each, True, 2, np.random.default_rng(1))
        for each in (images, images / np.float32(255))
    )
    assert not np.array_equal(exact, images)
    assert np.array_equal(normalized, exact / np.float32(255))
    short = Split(np.zeros((5, 6, 3), np.float32), np.zeros(5, np.int64))
    with pytest.raises(
        ValueError, match=r"are for images, and the data are features of shape \[6, 3\]"
    ):
        check_augmentation(short, dataclasses.replace(RECIPES["sgd"], flip=True))


@SETTINGS
@given(IMAGES, SEEDS)
def test_each_image_is_mirrored_or_unchanged_and_mirroring_twice_restores_it(
    images: np.ndarray, seed: int
) -> None:
    once = augment(images, True, 0, np.random.default_rng(seed))
    for before, after in zip(images, once, strict=True):
        assert np.array_equal(after, before) or np.array_equal(after, before[:, ::-1])
    assert np.array_equal(augment(once, True, 0, np.random.default_rng(seed)), images)


def test_half_of_many_images_are_mirrored() -> None:
    images = np.tile(np.array([0, 1], np.uint8)[None, None, :, None], (2000, 1, 1, 1))
    mirrored = augment(images, True, 0, np.random.default_rng(0))[:, 0, 0, 0]
    assert abs(mirrored.mean() - 0.5) < 0.05


@SETTINGS
@given(IMAGES, st.integers(1, 2), SEEDS)
def test_each_crop_is_a_window_of_the_image_padded_by_reflection(
    images: np.ndarray, crop: int, seed: int
) -> None:
    out = augment(images, False, crop, np.random.default_rng(seed))
    for before, after in zip(images, out, strict=True):
        bordered = np.pad(before, ((crop, crop), (crop, crop), (0, 0)), mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(bordered, before.shape)
        assert (windows[..., 0, :, :, :] == after).all((-1, -2, -3)).any()


def test_every_crop_position_occurs() -> None:
    image = np.arange(9, dtype=np.uint8).reshape(1, 3, 3, 1)
    out = augment(np.repeat(image, 2000, 0), False, 1, np.random.default_rng(0))
    assert len({window.tobytes() for window in out}) == 9


@pytest.mark.parametrize("size", [(6, 6), (4, 9), (2, 2), (1, 5), (1, 1)], ids=str)
@pytest.mark.parametrize("crop", [0, 1, 4, 13])
def test_augmentation_equals_numpy_mirroring_reflect_padding_and_cropping(
    size: tuple[int, int], crop: int
) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, *size, 3)).astype(np.uint8)
    draws = Draws.of(len(images), True, crop, rng)
    around = ((crop, crop), (crop, crop), (0, 0))
    for n, found in enumerate(augmented(images, draws)):
        whole = images[n, :, ::-1] if draws.mirrored[n] else images[n]
        bordered = np.pad(whole, around, mode="reflect")
        top, left = draws.top[n], draws.left[n]
        assert np.array_equal(found, bordered[top : top + size[0], left : left + size[1]])


@SETTINGS
@given(IMAGES, st.booleans(), st.integers(0, 2), SEEDS)
def test_augmentation_is_deterministic_and_keeps_type_shape_and_its_input(
    images: np.ndarray, flip: bool, crop: int, seed: int
) -> None:
    before = images.copy()
    first, second = (augment(images, flip, crop, np.random.default_rng(seed)) for _ in range(2))
    assert first.dtype == np.uint8
    assert first.shape == images.shape
    assert np.array_equal(first, second)
    assert np.array_equal(images, before)


# Batches

DATA = split(0, 66)  # 4 batches of 16 an epoch, two images over


def epochs(first: int, n: int, seed: int = 5, recipe: str = "sgd") -> list[np.ndarray]:
    """Images of `n` epochs from `first` on: float32 [64, h, w, c] each."""
    stream = (images for images, _ in batches(DATA, 3, RECIPES[recipe], 1 / 255, seed, first))
    return [np.concatenate(list(itertools.islice(stream, 4))) for _ in range(n)]


def test_an_epoch_does_not_depend_on_the_epochs_before_it() -> None:
    through, later = epochs(0, 3), epochs(2, 1)
    assert np.array_equal(through[2], later[0])
    assert not np.array_equal(through[0], through[1])


def test_alternating_flip_mirrors_a_random_half_then_the_other_half() -> None:
    recipe = dataclasses.replace(RECIPES["groups"], crop=0, batch_size=66)
    stream = batches(DATA, 3, recipe, 1.0, 5, 0)
    seen = [{image.tobytes() for image in images} for images, _ in itertools.islice(stream, 4)]
    plain = {image.astype(np.float32).tobytes() for image in DATA.images}
    turned = {image[:, ::-1].astype(np.float32).tobytes() for image in DATA.images}
    assert seen[0] == seen[2] != seen[1] == seen[3]
    assert seen[0] | seen[1] == plain | turned
    assert 20 < len(seen[0] & plain) < 46  # of 66, by chance
    (later, _) = next(batches(DATA, 3, recipe, 1.0, 5, 3))
    assert {image.tobytes() for image in later} == seen[3]
    (other, _) = next(batches(DATA, 3, recipe, 1.0, 6, 0))
    assert {image.tobytes() for image in other} not in seen


def test_another_seed_gives_another_order() -> None:
    assert not np.array_equal(epochs(0, 1, seed=5)[0], epochs(0, 1, seed=6)[0])


def test_an_epoch_holds_each_image_at_most_once_with_its_label() -> None:
    plain = dataclasses.replace(RECIPES["sgd"], flip=False, crop=0)
    stream = batches(DATA, 4, plain, 1.0, 0, 0)
    known = {image.astype(np.float32).tobytes(): i for i, image in enumerate(DATA.images)}
    seen = []
    for images, labels in itertools.islice(stream, 4):
        assert images.shape == (16, 8, 8, 3)
        assert images.dtype == labels.dtype == np.float32
        for image, label in zip(images, labels, strict=True):
            seen.append(known[image.tobytes()])
            assert label.tolist() == np.eye(4)[DATA.labels[seen[-1]]].tolist()
    assert len(set(seen)) == 64


def test_pixels_are_scaled() -> None:
    images, _ = next(batches(DATA, 3, RECIPES["sgd"], 1 / 255, 0, 0))
    assert 0 <= images.min() < 0.2 < 0.8 < images.max() <= 1


def test_fewer_images_than_a_batch_make_one_batch() -> None:
    few = split(0, 5)
    images, labels = next(batches(few, 3, RECIPES["sgd"], 1.0, 0, 0))
    assert len(images) == len(labels) == 5


# Mixup

MIXED = dataclasses.replace(RECIPES["sgd"], flip=False, crop=0, mixup=0.5)


def test_batches_without_mixup_have_their_recorded_numbers() -> None:
    """The numbers were recorded before mixup was added."""
    images, _ = next(batches(DATA, 3, RECIPES["sgd"], 1.0, 5, 2))
    assert (images[3].sum(), images[7, 2, 2].tolist()) == (23943.0, [45.0, 122.0, 150.0])


def test_mixup_mixes_images_and_labels_with_the_previous_image_by_the_same_share() -> None:
    plain = dataclasses.replace(MIXED, mixup=0.0)
    (whole, whole_labels), (images, labels) = (
        next(batches(DATA, 3, recipe, 1.0, 0, 0)) for recipe in (plain, MIXED)
    )
    shares = set()
    for i in range(16):
        share = np.vdot(images[i] - whole[i - 1], whole[i] - whole[i - 1]) / np.sum(
            (whole[i] - whole[i - 1]) ** 2
        )
        expected = share * whole_labels[i] + (1 - share) * whole_labels[i - 1]
        np.testing.assert_allclose(labels[i], expected, atol=1e-5)
        np.testing.assert_allclose(
            images[i], share * whole[i] + (1 - share) * whole[i - 1], atol=1e-2
        )
        shares.add(round(float(share), 4))
    assert len(shares) == 16
    assert all(0 <= share <= 1 for share in shares)


def test_shares_have_the_mean_and_variance_of_their_beta_distribution() -> None:
    shares = shares_of(20_000, 0.2, np.random.default_rng(0))
    assert abs(shares.mean() - 0.5) < 0.01
    assert abs(shares.var() - 1 / (4 * (2 * 0.2 + 1))) < 0.005


def test_a_mixed_epoch_does_not_depend_on_the_epochs_before_it() -> None:
    stream = (images for images, _ in batches(DATA, 3, MIXED, 1.0, 5, 0))
    through = list(itertools.islice(stream, 8))
    later = next(batches(DATA, 3, MIXED, 1.0, 5, 1))[0]
    assert np.array_equal(through[4], later)


def test_the_last_epochs_show_images_without_mixup() -> None:
    recipe = dataclasses.replace(MIXED, epochs=20)
    assert [recipe.mixes_in(epoch) for epoch in range(20)] == [True] * 17 + [False] * 3
    for epoch, whole in ((16, False), (17, True)):
        _, labels = next(batches(DATA, 3, recipe, 1.0, 0, epoch))
        assert bool(np.isin(labels, (0, 1)).all()) == whole
