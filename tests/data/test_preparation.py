"""Pixels are prepared as the options say, in the same way in every split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from compress.data.images import read
from compress.data.preparation import Preparation
from support.own_images import class_folders, digests, images, of_sides, quiet, save

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def arrays(tmp_path: Path, **more: Any) -> Path:
    np.savez(tmp_path / "bugs.npz", **{"x_train": images(40), "y_train": np.arange(40) % 2, **more})
    return tmp_path / "bugs.npz"


def test_the_default_preparation_changes_nothing(tmp_path: Path) -> None:
    path = arrays(tmp_path)
    plain, prepared = read(path, quiet), read(path, quiet, Preparation())
    assert digests(plain) == digests(prepared)
    assert plain.name == prepared.name


def test_pixels_are_normalized_as_torchvision_does(tmp_path: Path) -> None:
    path = arrays(tmp_path)
    plain, prepared = read(path, quiet), read(path, quiet, Preparation(mean=MEAN, std=STD))
    for before, after in zip(of_sides(plain), of_sides(prepared), strict=True):
        expected = (before.images.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
        assert after.images.dtype == np.float32
        np.testing.assert_allclose(after.images, expected, rtol=1e-5, atol=1e-6)
        assert (after.labels == before.labels).all()
    assert plain.name != prepared.name


def test_channels_are_reversed_before_the_mean_is_subtracted(tmp_path: Path) -> None:
    path = arrays(tmp_path)
    plain = read(path, quiet).train.images
    swapped = read(path, quiet, Preparation(bgr=True)).train.images
    assert swapped.dtype == np.uint8
    assert (swapped == plain[..., ::-1]).all()
    # The input of Caffe's models: raw pixels minus the mean of blue, green and red.
    caffe = Preparation(bgr=True, scale=1.0, mean=(103.939, 116.779, 123.68))
    expected = plain[..., ::-1] - np.float32([103.939, 116.779, 123.68])
    np.testing.assert_allclose(read(path, quiet, caffe).train.images, expected, atol=1e-4)


def test_grey_images_take_a_mean_of_one_number(tmp_path: Path) -> None:
    path = arrays(tmp_path, x_train=images(40, shape=(6, 5)))
    data = read(path, quiet, Preparation(mean=(0.1307,), std=(0.3081,)))
    assert data.train.images.shape[1:] == (6, 5, 1)
    assert data.train.images.max() == pytest.approx((1 - 0.1307) / 0.3081, rel=0.02)


def test_images_are_resized_only_when_asked_for(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "bugs")
    save(folder / "ant" / "large.png", images(1, seed=9, shape=(12, 10, 3))[0])
    with pytest.raises(ValueError, match="to one size first, or add --resize"):
        read(folder, quiet)
    data = read(folder, quiet, Preparation(resize=(4, 3)))
    assert data.train.images.shape[1:] == (4, 3, 3)
    by_hand = {
        np.asarray(Image.open(path).resize((3, 4), Image.Resampling.BILINEAR)).tobytes()
        for path in folder.rglob("*.png")
    }
    assert {image.tobytes() for split in of_sides(data) for image in split.images} == by_hand


@pytest.mark.parametrize("shape", [(6, 5, 3), (6, 5)])
def test_arrays_are_resized_like_image_files(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = images(40, shape=shape)
    path = arrays(tmp_path, x_train=pixels)
    data = read(path, quiet, Preparation(resize=(8, 9)))
    assert data.train.images.shape[1:] == (8, 9, shape[2] if shape[2:] else 1)
    first = np.asarray(Image.fromarray(pixels[0]).resize((9, 8), Image.Resampling.BILINEAR))
    assert any((image.squeeze() == first).all() for s in of_sides(data) for image in s.images)


@pytest.mark.parametrize(
    ("preparation", "shape", "sentence"),
    [
        ({"mean": MEAN}, (6, 5), "images of 1 channel, and --mean has 3 numbers"),
        ({"std": (1, 2)}, (6, 5, 3), "images of 3 channels, and --std has 2 numbers"),
        ({"bgr": True}, (6, 5), "grey images of one channel have no order: leave out --bgr"),
    ],
)
def test_a_preparation_that_does_not_fit_the_images_is_refused(
    tmp_path: Path, preparation: Any, shape: tuple[int, ...], sentence: str
) -> None:
    path = arrays(tmp_path, x_train=images(40, shape=shape))
    with pytest.raises(ValueError, match=sentence):
        read(path, quiet, Preparation(**preparation))


def test_preparing_features_is_refused(tmp_path: Path) -> None:
    path = arrays(tmp_path, x_train=np.float32(images(40)))
    with pytest.raises(ValueError, match="bugs: float32 features, which are given to models as"):
        read(path, quiet, Preparation(bgr=True))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"std": (0.0,)}, "not above 0"),
        ({"mean": (float("nan"),)}, "finite"),
        ({"mean": (123.7,)}, "beyond the largest pixel, 1 at a scale of .*add --input-scale 1"),
        ({"resize": (0, 4)}, "0x4 is not from 1"),
    ],
)
def test_an_invalid_preparation_is_refused(fields: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Preparation(**fields)
