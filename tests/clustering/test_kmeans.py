"""Initial centroids lie within the weights, are few enough to be shared, and are placed by their method."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.clustering.kmeans import INITIALIZATIONS, centroids_of
from compress.weight_sharing import nearest
from support.random_kernels import drawn, kernels

every_initialization = pytest.mark.parametrize("initialization", INITIALIZATIONS)


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


def test_density_based_centroids_have_equally_many_weights_between_neighbors() -> None:
    w = drawn(6400) ** 3
    table = centroids_of(w, 65, "density-based", 0)
    assert (table[0], table[-1]) == (w.min(), w.max())
    np.testing.assert_allclose(np.histogram(w, table)[0], 100, atol=1)


def test_k_means_finds_the_groups_and_their_means() -> None:
    groups = np.concatenate([drawn(50, seed=i) * 0.01 + c for i, c in enumerate((-3, -1, 1, 7))])
    found = centroids_of(groups, 4, "kmeans++", seed=1)
    np.testing.assert_allclose(found, groups.reshape(4, 50).mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("k", [4, 16, 64])
def test_k_means_has_the_smallest_error_of_all_initializations(k: int) -> None:
    w = drawn(3000)
    errors = {i: np.square(w - nearest(w, centroids_of(w, k, i, 0))).sum() for i in INITIALIZATIONS}
    assert min(errors, key=errors.__getitem__) == "kmeans++"
