"""The arithmetic of shared weights: which are, which values they share, and how they stay together."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.clustering.kmeans import INITIALIZATIONS, centroids_of
from compress.weight_sharing import (
    MAX_VALUES,
    cluster_ids,
    cluster_projection,
    distinct,
    distinct_per_channel,
    is_clustered,
    nearest,
)

values = st.floats(-8, 8, width=16)
kernels = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=4, max_side=6), elements=values
)
tables = hnp.arrays(np.float32, st.integers(1, 12), elements=values)
every_initialization = pytest.mark.parametrize("initialization", INITIALIZATIONS)


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@given(kernels)
def test_distinct_counts_what_a_set_counts(w: np.ndarray) -> None:
    assert distinct(w) == len({float(v) for v in w.ravel()} - {0.0})
    for axis in range(w.ndim):
        per_channel = [distinct(np.take(w, i, axis)) for i in range(w.shape[axis])]
        assert distinct_per_channel(w, axis).tolist() == per_channel


@given(kernels, tables)
def test_each_weight_goes_to_its_nearest_centroid(w: np.ndarray, table: np.ndarray) -> None:
    placed = nearest(w, table)
    distances = np.abs(w[..., None].astype(np.float64) - table).min(axis=-1)
    assert np.all(np.isin(placed, [0, *table]))
    np.testing.assert_array_equal(placed[w == 0], 0)
    np.testing.assert_allclose(np.abs(w - placed.astype(np.float64))[w != 0], distances[w != 0])


@given(kernels, tables)
def test_going_to_the_nearest_twice_changes_nothing(w: np.ndarray, table: np.ndarray) -> None:
    once = nearest(w, table)
    np.testing.assert_array_equal(nearest(once, table), once)
    assert distinct(once) <= len(table)


@every_initialization
@given(w=kernels, k=st.integers(2, 20), seed=st.integers(0, 3))
def test_centroids_are_within_the_weights_and_few_enough_to_be_shared(
    initialization: str, w: np.ndarray, k: int, seed: int
) -> None:
    found = centroids_of(w, k, initialization, seed)
    nonzero = w[w != 0]
    assert found.shape == (k,)
    assert found.dtype == np.float32
    assert np.all(np.diff(found) >= 0)
    if len(nonzero):
        assert nonzero.min() <= found.min()
        assert found.max() <= nonzero.max()
        assert len(np.unique(found)) <= max(1, len(nonzero) // 2)
    np.testing.assert_array_equal(found, centroids_of(w, k, initialization, seed))


def test_linear_centroids_are_evenly_spaced() -> None:
    w = np.array([-1.0, 0.0, 0.2, 0.3, 0.3, 0.4, 0.5, 3.0])
    np.testing.assert_allclose(centroids_of(w, 3, "linear", 0), [-1, 1, 3])


def test_random_centroids_differ_with_the_seed() -> None:
    one, other = (centroids_of(drawn(99), 8, "random", seed) for seed in (0, 1))
    assert not np.isin(one, other).any()


def test_density_based_centroids_have_as_many_weights_between_each_two() -> None:
    w = drawn(6400) ** 3
    table = centroids_of(w, 65, "density-based", 0)
    assert (table[0], table[-1]) == (w.min(), w.max())
    np.testing.assert_allclose(np.histogram(w, table)[0], 100, atol=1)


def test_k_means_finds_the_groups_and_their_means() -> None:
    groups = np.concatenate([drawn(50, seed=i) * 0.01 + c for i, c in enumerate((-3, -1, 1, 7))])
    found = centroids_of(groups, 4, "kmeans++", seed=1)
    np.testing.assert_allclose(found, groups.reshape(4, 50).mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("k", [4, 16, 64])
def test_k_means_ends_nearer_to_the_weights_than_the_others(k: int) -> None:
    w = drawn(3000)
    errors = {i: np.square(w - nearest(w, centroids_of(w, k, i, 0))).sum() for i in INITIALIZATIONS}
    assert min(errors, key=errors.__getitem__) == "kmeans++"


def test_shared_weights_are_told_from_others() -> None:
    w = drawn(3, 3, 16, 24)
    sparse = np.where(np.abs(w) > 1.5, w, 0)
    assert not is_clustered(w)
    assert not is_clustered(sparse)
    assert not is_clustered(sparse[:, :, :2, :4])  # so few are left that a byte would number them
    assert not is_clustered(np.zeros((3, 3)))
    assert is_clustered(np.round(w))
    assert is_clustered(np.round(sparse))
    assert is_clustered(np.round(w) * np.exp(drawn(24)))  # as a normalization folds
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


def test_a_value_shared_in_channels_is_a_cluster_in_each() -> None:
    w = np.round(drawn(5, 5, 9, 40)) * np.exp(drawn(40))
    found = cluster_ids(w)
    channels = [set(np.unique(found[..., c])) - {0} for c in range(40)]
    assert distinct(w) == sum(map(len, channels)) == len(set().union(*channels))
    assert [len(c) for c in channels] == distinct_per_channel(w).tolist()


@given(kernels, st.integers(1, 5), st.integers(0, 9))
def test_kept_weights_are_the_means_of_their_clusters(w: np.ndarray, k: int, seed: int) -> None:
    clusters = np.random.default_rng(seed).integers(0, k + 1, w.shape)
    kept = cluster_projection(clusters)(w.ravel()).reshape(w.shape)
    for label in np.unique(clusters):
        own = kept[clusters == label]
        mean = 0 if label == 0 else w[clusters == label].mean(dtype=np.float64)
        np.testing.assert_allclose(own, mean, rtol=1e-4, atol=1e-5)
        assert len(np.unique(own)) == 1


@given(kernels)
def test_what_is_clustered_already_is_kept_bit_for_bit(w: np.ndarray) -> None:
    np.testing.assert_array_equal(cluster_projection(cluster_ids(w))(w.ravel()), w.ravel())


def test_keeping_thousands_of_times_does_not_drift() -> None:
    w = np.full(3000, 0.1, np.float32)
    keep = cluster_projection(cluster_ids(w))
    for _ in range(1000):
        w = keep(w).astype(np.float32)
    assert np.all(w == np.float32(0.1))


def test_of_two_values_as_near_the_lower_is_taken() -> None:
    placed = nearest(np.array([2.0, -2.0]), np.array([1.0, 3.0, -1.0, -3.0]))
    assert placed.tolist() == [1.0, -3.0]


def test_equal_weights_of_channels_that_share_apart_are_two_clusters() -> None:
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
