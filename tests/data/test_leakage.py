"""Near-duplicates between two splits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.data import leakage
from compress.data.leakage import near_duplicates


def drawn(n: int, seed: int, side: int = 32) -> np.ndarray:
    """Smooth random images that resemble photographs: coarse random blocks, enlarged and blurred."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, 8, 8, 3)).astype(float)
    large = coarse.repeat(-(-side // 8), axis=1).repeat(-(-side // 8), axis=2)[:, :side, :side]
    for axis in (1, 2):
        large = (np.roll(large, 1, axis) + large + np.roll(large, -1, axis)) / 3
    return large.astype(np.uint8)


def noisy(image: np.ndarray, deviation: float) -> np.ndarray:
    moved = image + np.random.default_rng(9).normal(0, deviation, image.shape)
    return moved.clip(0, 255).astype(np.uint8)


def test_different_images_are_not_near_duplicates() -> None:
    found = near_duplicates(drawn(60, 1), drawn(80, 2))
    assert found.images == 0


def test_identical_and_noisy_copies_are_found() -> None:
    images, others = drawn(30, 1), drawn(40, 2)
    others[7], others[11] = images[3], noisy(images[5], 4)
    found = near_duplicates(images, others)
    assert [(p.index, p.other, p.pixel_distance) for p in found.identical] == [(3, 7, 0.0)]
    assert [(p.index, p.other) for p in found.by_pixels] == [(3, 7), (5, 11)]
    assert found.by_pixels[1].pixel_distance == pytest.approx(4, abs=0.5)
    assert found.images == 2


def test_a_brighter_copy_is_found_only_by_the_perceptual_hash() -> None:
    images, others = drawn(30, 1) // 2 + 40, drawn(40, 2)
    others[7] = images[3] + 25
    found = near_duplicates(images, others)
    assert found.by_pixels == []
    assert [(p.index, p.other) for p in found.by_hash] == [(3, 7)]
    assert found.by_hash[0].pixel_distance == pytest.approx(25)


def test_flat_images_with_equal_hashes_are_distinguished_by_pixels() -> None:
    flat = np.full((2, 32, 32, 3), [[[[20]]], [[[200]]]], np.uint8)
    assert near_duplicates(flat[:1], flat[1:]).images == 0
    assert near_duplicates(flat[:1], flat[:1]).images == 1


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    st.integers(3, 40), st.integers(3, 40), st.sampled_from([1, 3]), st.floats(0, 12), st.integers(0, 99)
)  # fmt: skip
def test_no_pair_within_the_pixel_distance_is_missed(
    height: int, width: int, channels: int, deviation: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (5, height, width, channels), dtype=np.uint8)
    others = np.stack([noisy(image, deviation) for image in images[::-1]])
    apart = images[:, None].astype(float) - others
    distances = np.sqrt((apart**2).mean(axis=(2, 3, 4)))
    expected = {i for i in range(5) if distances[i].min() <= leakage.PIXEL_DISTANCE}
    found = near_duplicates(images, others).by_pixels
    assert {p.index for p in found} == expected
    assert all(p.pixel_distance == pytest.approx(distances[p.index].min(), abs=1e-3) for p in found)


def test_the_result_does_not_depend_on_the_chunk_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, others = drawn(30, 1), drawn(40, 2)
    others[[7, 8]] = images[[3, 29]]
    whole = near_duplicates(images, others)
    monkeypatch.setattr(leakage, "CHUNK_BYTES", 4096)
    assert near_duplicates(images, others) == whole
    assert [p.index for p in whole.identical] == [3, 29]


def test_a_split_of_many_copies_of_one_image_is_compared_in_full() -> None:
    """Every pair is near, so the comparison must work in chunks and stop early."""
    same = np.full((300, 32, 32, 3), 7, np.uint8)
    assert len(near_duplicates(same, same).identical) == 300
