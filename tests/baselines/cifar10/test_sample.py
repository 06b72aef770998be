"""The bundled sample: real images, balanced, and each on the same side of the split as in the full data."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.cifar10.find import VALIDATION_FRACTION, load
from baselines.cifar10.formats import open_copy
from baselines.cifar10.make_sample import main
from baselines.cifar10.sample import (
    COUNTS,
    FOLDER,
    draw_test,
    draw_train,
    open_sample,
    sheet,
    unsheet,
    write_png,
    write_sample,
)
from baselines.cifar10.spec import FULL, Files
from compress.data.splits import split_by_class
from support.cifar10_copies import arrays


def rows(images: np.ndarray) -> set[bytes]:
    return {image.tobytes() for image in images}


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99), per_class=st.sampled_from([20, 40]))
def test_a_sampled_image_is_in_the_same_split_as_in_the_full_data(seed, per_class):
    images, labels = arrays(1000, seed)
    drawn = draw_train((images, labels), VALIDATION_FRACTION, 10 * per_class)
    assert drawn.shape == (10 * per_class, 32, 32, 3)
    full_train, full_validation = split_by_class(images, labels, VALIDATION_FRACTION)
    train, validation = split_by_class(
        drawn, np.repeat(np.arange(10), per_class), VALIDATION_FRACTION
    )
    assert rows(train.images) <= rows(full_train.images)
    assert rows(validation.images) <= rows(full_validation.images)
    assert len(validation) == round(VALIDATION_FRACTION * per_class) * 10


def test_a_sample_keeps_the_label_of_every_image():
    images, labels = arrays(500, seed=7)
    label_of = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    for drawn in (draw_train((images, labels), 0.15, 200), draw_test((images, labels), 200)):
        assert [label_of[image.tobytes()] for image in drawn] == np.repeat(
            np.arange(10), 20
        ).tolist()


def test_the_draw_does_not_depend_on_the_order_of_the_full_data():
    images, labels = arrays(500, seed=8)
    order = np.random.default_rng(9).permutation(500)
    for draw in (lambda *data: draw_train(data, 0.15, 100), lambda *data: draw_test(data, 100)):
        np.testing.assert_array_equal(draw(images, labels), draw(images[order], labels[order]))


def test_splitting_a_sheet_gives_the_images_in_order():
    images, _ = arrays(300, seed=1)
    laid_out = sheet(images)
    assert laid_out.shape == (96, 3200, 3)
    np.testing.assert_array_equal(laid_out[32:64, 64:96], images[102])
    np.testing.assert_array_equal(unsheet(laid_out), images)


def test_a_sample_that_was_written_is_read_back(tmp_path):
    train, test = arrays(5000, seed=3), arrays(1000, seed=4)
    write_sample(tmp_path, Files(lambda: train, lambda: test), VALIDATION_FRACTION)
    images, labels = open_sample(tmp_path).train()
    np.testing.assert_array_equal(images, draw_train(train, VALIDATION_FRACTION, COUNTS.train))
    np.testing.assert_array_equal(labels, np.repeat(np.arange(10), 400))
    assert rows(open_sample(tmp_path).test()[0]) == rows(test[0])


def test_a_sample_of_another_size_is_refused(tmp_path):
    write_png(tmp_path / "train.png", np.zeros((32, 3200, 3), np.uint8))
    with pytest.raises(ValueError, match=r"train.png: 3200 x 32 pixels .* expected 3200 x 1280"):
        open_sample(tmp_path).train()


def test_the_bundled_sample_is_balanced_real_and_small():
    for images, labels in (open_sample().train(), open_sample().test()):
        assert set(np.bincount(labels)) == {len(labels) // 10}
        assert len(rows(images)) == len(images), "no image is there twice"
        # Channel means of the full training set, red above green above blue.
        np.testing.assert_allclose(images.mean((0, 1, 2)) / 255, [0.491, 0.482, 0.447], atol=0.02)
    assert not rows(open_sample().train()[0]) & rows(open_sample().test()[0])
    assert sum(p.stat().st_size for p in FOLDER.glob("*.png")) <= 14e6


def test_the_readme_of_the_bundled_sample_states_its_origin():
    text = (FOLDER / "README.md").read_text()
    assert "https://www.cs.toronto.edu/~kriz/cifar.html" in text
    assert "Licence" in text


def full_data() -> Path:
    if not os.environ.get("CIFAR10_DIR"):
        pytest.skip("CIFAR10_DIR does not name the full data")
    return Path(os.environ["CIFAR10_DIR"])


@pytest.mark.slow
def test_images_of_the_bundled_sample_are_in_the_same_splits_as_in_the_full_data(
    monkeypatch, tmp_path
):
    full = load(full_data(), lambda sentence: None)
    for name in ("HOME", "KERAS_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("COMPRESS_OFFLINE", "1")
    monkeypatch.delenv("CIFAR10_DIR")
    sample = load(None, lambda sentence: None)
    assert (full.name, sample.name) == ("cifar10", "cifar10-sample")
    assert rows(sample.train.images) <= rows(full.train.images)
    assert rows(sample.validation.images) <= rows(full.validation.images)
    assert rows(sample.open_test().images) <= rows(full.open_test().images)


@pytest.mark.slow
def test_drawing_the_sample_again_gives_the_bundled_sample(tmp_path):
    main([str(full_data()), "--out", str(tmp_path)])
    for part in ("train", "test"):
        for drawn, bundled in zip(
            getattr(open_sample(tmp_path), part)(), getattr(open_sample(), part)(), strict=True
        ):
            np.testing.assert_array_equal(drawn, bundled)


@pytest.mark.slow
def test_the_full_data_has_the_published_split_sizes():
    full = load(full_data(), lambda sentence: None)
    assert (len(full.train), len(full.validation), len(full.open_test())) == (42_500, 7_500, 10_000)
    images, _ = open_copy(full_data(), FULL).train()
    np.testing.assert_allclose(images.mean((0, 1, 2)) / 255, [0.4914, 0.4822, 0.4465], atol=5e-5)
