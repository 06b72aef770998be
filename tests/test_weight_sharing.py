"""The arithmetic of shared weights: recognizing them, their values, and keeping clusters together."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.weight_sharing import (
    MAX_VALUES,
    cluster_ids,
    cluster_projection,
    distinct,
    distinct_per_channel,
    is_clustered,
    nearest,
)
from support.random_kernels import drawn, kernels, values

tables = hnp.arrays(np.float32, st.integers(1, 12), elements=values)


@given(kernels)
def test_distinct_counts_the_nonzero_values_of_a_set(w: np.ndarray) -> None:
    assert distinct(w) == len({float(v) for v in w.ravel()} - {0.0})
    for axis in range(w.ndim):
        per_channel = [distinct(np.take(w, i, axis)) for i in range(w.shape[axis])]
        assert distinct_per_channel(w, axis).tolist() == per_channel


@given(kernels, tables)
def test_nearest_moves_each_weight_to_its_nearest_centroid(
    w: np.ndarray, table: np.ndarray
) -> None:
    placed = nearest(w, table)
    distances = np.abs(w[..., None].astype(np.float64) - table).min(axis=-1)
    assert np.all(np.isin(placed, [0, *table]))
    np.testing.assert_array_equal(placed[w == 0], 0)
    np.testing.assert_allclose(np.abs(w - placed.astype(np.float64))[w != 0], distances[w != 0])


@given(kernels, tables)
def test_applying_nearest_twice_changes_nothing(w: np.ndarray, table: np.ndarray) -> None:
    once = nearest(w, table)
    np.testing.assert_array_equal(nearest(once, table), once)
    assert distinct(once) <= len(table)


def test_is_clustered_recognizes_shared_weights() -> None:
    w = drawn(3, 3, 16, 24)
    sparse = np.where(np.abs(w) > 1.5, w, 0)
    assert not is_clustered(w)
    assert not is_clustered(sparse)
    assert not is_clustered(sparse[:, :, :2, :4])  # one byte could index so few weights
    assert not is_clustered(np.zeros((3, 3)))
    assert is_clustered(np.round(w))
    assert is_clustered(np.round(sparse))
    assert is_clustered(np.round(w) * np.exp(drawn(24)))  # as after folding a normalization
    assert not is_clustered(np.round(w, 3))
    assert not is_clustered(np.arange(4 * MAX_VALUES + 8) // 4 + 1)
    assert is_clustered(np.arange(4 * MAX_VALUES) // 4 + 1)


@given(kernels)
def test_equal_weights_have_equal_labels_only_in_a_clustered_kernel(w: np.ndarray) -> None:
    found = cluster_ids(w)
    np.testing.assert_array_equal(found == 0, w == 0)
    np.testing.assert_array_equal(np.unique(found[w != 0]), np.arange(1, found.max() + 1))
    if not is_clustered(w):
        assert found.max() == np.count_nonzero(w)
        return
    for channel in range(w.shape[-1]):
        pairs = {
            (int(a), float(b))
            for a, b in zip(found[..., channel].flat, w[..., channel].flat, strict=True)
        }
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def test_a_value_in_several_channels_is_a_separate_cluster_in_each() -> None:
    w = np.round(drawn(5, 5, 9, 40)) * np.exp(drawn(40))
    found = cluster_ids(w)
    channels = [set(np.unique(found[..., c])) - {0} for c in range(40)]
    assert distinct(w) == sum(map(len, channels)) == len(set().union(*channels))
    assert [len(c) for c in channels] == distinct_per_channel(w).tolist()


@given(kernels, st.integers(1, 5), st.integers(0, 9))
def test_the_projection_gives_each_cluster_its_mean(w: np.ndarray, k: int, seed: int) -> None:
    clusters = np.random.default_rng(seed).integers(0, k + 1, w.shape)
    kept = cluster_projection(clusters)(w.ravel()).reshape(w.shape)
    for label in np.unique(clusters):
        own = kept[clusters == label]
        mean = 0 if label == 0 else w[clusters == label].mean(dtype=np.float64)
        np.testing.assert_allclose(own, mean, rtol=1e-4, atol=1e-5)
        assert len(np.unique(own)) == 1


@given(kernels)
def test_the_projection_keeps_clustered_weights_bit_for_bit(w: np.ndarray) -> None:
    np.testing.assert_array_equal(cluster_projection(cluster_ids(w))(w.ravel()), w.ravel())


def test_applying_the_projection_1000_times_does_not_drift() -> None:
    w = np.full(3000, 0.1, np.float32)
    keep = cluster_projection(cluster_ids(w))
    for _ in range(1000):
        w = keep(w).astype(np.float32)
    assert np.all(w == np.float32(0.1))


def test_nearest_takes_the_lower_of_two_equally_near_values() -> None:
    placed = nearest(np.array([2.0, -2.0]), np.array([1.0, 3.0, -1.0, -3.0]))
    assert placed.tolist() == [1.0, -3.0]


def test_equal_weights_of_channels_clustered_separately_are_two_clusters() -> None:
    w = np.tile(
        np.arange(1, 301, dtype=np.float32).reshape(30, 10).T, (4, 1)
    )  # 10 values a channel
    w[w == 11] = 1
    found = cluster_ids(w)
    assert found[0, 0] != found[0, 1]
    assert np.unique(found).tolist() == list(range(1, 301))


@pytest.mark.parametrize(("values", "clustered"), [(256, True), (257, False)])
def test_a_channel_shares_at_most_256_values(values: int, clustered: bool) -> None:
    channel = np.tile(np.arange(1, values + 1, dtype=np.float32), 2)
    assert is_clustered(np.stack([channel, -channel], axis=-1)) is clustered
