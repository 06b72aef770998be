"""A view shows each image in one way, whatever the order of images, and views are shown in turn."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from compress.training.views import Views
from support.tiny_training import RECIPES, split

DATA = split(0, 66)
RECIPE = dataclasses.replace(RECIPES["sgd"], epochs=20, views=4)
MIXED = dataclasses.replace(RECIPE, mixup=0.5)


def views(recipe: object = RECIPE, seed: int = 5) -> Views:
    return Views(DATA, 3, recipe, 1.0, seed)  # type: ignore[arg-type]


def epochs(shown: Views, first: int, n: int) -> list[np.ndarray]:
    """Images and labels of `n` epochs, each image flattened and followed by its labels."""
    stream = (np.concatenate([i.reshape(len(i), -1), j], axis=1) for i, j in shown.batches(first))
    return [np.concatenate(list(itertools.islice(stream, 4))) for _ in range(n)]


@pytest.mark.parametrize("recipe", [RECIPE, MIXED], ids=["whole", "mixed"])
def test_a_view_of_an_image_does_not_depend_on_the_order_of_images(recipe: object) -> None:
    view = views(recipe).view(1)
    images, labels = view.batch(np.arange(66))
    chosen = np.array([40, 3, 65])
    some, some_labels = view.batch(chosen)
    assert np.array_equal(some, images[chosen])
    assert np.array_equal(some_labels, labels[chosen])


def test_a_view_does_not_depend_on_the_number_of_views() -> None:
    more = views(dataclasses.replace(RECIPE, views=40))
    one, other = (v.view(3).batch(np.arange(66))[0] for v in (views(), more))
    assert np.array_equal(one, other)


def test_views_differ() -> None:
    shown = [views().view(n).batch(np.arange(66))[0] for n in range(4)]
    for one, other in itertools.combinations(shown, 2):
        assert not np.array_equal(one, other)


def test_another_seed_shows_the_same_views_in_another_order() -> None:
    one, other = (views(seed=seed) for seed in (5, 6))
    assert np.array_equal(_rows(one, 1), _rows(other, 1))
    assert not np.array_equal(epochs(one, 1, 1)[0], epochs(other, 1, 1)[0])


def test_each_epoch_shows_one_view_in_its_own_order() -> None:
    first, second, fifth = (
        epochs(views(), 0, 1)[0],
        epochs(views(), 1, 1)[0],
        epochs(views(), 4, 1)[0],
    )
    known = {row.tobytes() for row in _rows(views(), 0)}
    assert {row.tobytes() for row in first} <= known
    assert {row.tobytes() for row in fifth} <= known
    assert not {row.tobytes() for row in second} <= known
    assert not np.array_equal(first, fifth)


def _rows(shown: Views, number: int) -> np.ndarray:
    images, labels = shown.view(number).batch(np.arange(66))
    return np.concatenate([images.reshape(66, -1), labels], axis=1)


def test_an_epoch_does_not_depend_on_the_epochs_before_it() -> None:
    through, later = epochs(views(MIXED), 0, 3), epochs(views(MIXED), 2, 1)
    assert np.array_equal(through[2], later[0])


def test_odd_numbered_views_are_mixed_in_pairs() -> None:
    whole = views(dataclasses.replace(MIXED, mixup=0.0)).view(1)
    images, labels = whole.batch(np.arange(66))
    view = views(MIXED).view(1)
    mixed_images, mixed_labels = view.batch(np.arange(66))
    assert view.partners is not None
    for n in range(66):
        share, partner = view.shares[n], view.partners[n]
        np.testing.assert_allclose(
            mixed_images[n], share * images[n] + (1 - share) * images[partner], rtol=1e-4, atol=1e-3
        )
        np.testing.assert_allclose(
            mixed_labels[n], share * labels[n] + (1 - share) * labels[partner], atol=1e-5
        )
    assert 0 < view.shares.min() < 0.1 < 0.9 < view.shares.max() < 1


def test_even_numbered_views_are_those_of_a_training_without_mixup() -> None:
    one, other = (views(r).view(2).batch(np.arange(66)) for r in (RECIPE, MIXED))
    assert all(map(np.array_equal, one, other))


def test_the_last_epochs_show_only_unmixed_views() -> None:
    shown = views(MIXED)
    turns = [shown.shown_in(epoch) for epoch in range(20)]
    assert turns == [0, 1, 2, 3] * 4 + [0] + [2, 0, 2]
    assert shown.shown() == [0, 1, 2, 3]


def test_views_that_no_epoch_shows_are_left_out() -> None:
    assert views(dataclasses.replace(RECIPE, epochs=3, views=48)).shown() == [0, 1, 2]
