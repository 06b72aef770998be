"""Clusters, the sets of equal weights of a kernel: arithmetic on arrays. Zero weights are in no cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

MAX_VALUES = 256  # an index into the table of values fits into a byte
# Distinct values per non-zero weight. In a kernel that is not clustered, only a few weights are equal, by chance.
_LARGEST_SHARE = 0.9


def distinct(w: np.ndarray) -> int:
    """The number of distinct values in `w`, not counting zero.

    >>> distinct(np.array([0.5, 0.0, 0.5, -0.5]))
    2
    """
    return int(np.count_nonzero(np.unique(w)))


def distinct_per_channel(w: np.ndarray, axis: int = -1) -> np.ndarray:
    """The number of distinct values in each slice along `axis`, not counting zero: int [o] of a kernel [..., i, o].

    >>> distinct_per_channel(np.array([[0.5, 0.0], [0.5, 1.0], [0.0, 2.0]]))
    array([1, 2])
    """
    rows = np.sort(np.moveaxis(w, axis, 0).reshape(w.shape[axis], -1), axis=1)
    first = np.ones(rows.shape, bool)
    first[:, 1:] = rows[:, 1:] != rows[:, :-1]
    return np.sum(first & (rows != 0), axis=1)


def is_clustered(w: np.ndarray) -> bool:
    """True if weights are shared: at most 256 non-zero values that repeat, in the kernel or in each output channel.

    The values alone decide, so that a later stage needs no record of clustering. A kernel that is only sparse has as
    many values as non-zero weights, and is not clustered.

    >>> is_clustered(np.array([0.5, 0.0, 0.5, -0.5, -0.5])), is_clustered(np.array([0.5, 0.0, 0.1, -0.5]))
    (True, False)
    """
    return _is_shared_in_all(w) or _is_shared_in_channels(w)


def cluster_ids(w: np.ndarray) -> np.ndarray:
    """The cluster of each weight, numbered from 1: int32, shape of `w`; 0 where the weight is zero.

    Equal weights of a clustered kernel have equal ids. If each output channel has its own shared values, equal weights
    of two channels are in two clusters. In a kernel that is not clustered, each weight is its own cluster.

    >>> cluster_ids(np.array([0.5, 0.0, 0.5, -0.5, -0.5]))
    array([2, 0, 2, 1, 1], dtype=int32)
    >>> cluster_ids(np.array([0.5, 0.0, 0.1, -0.5]))
    array([1, 0, 2, 3], dtype=int32)
    """
    if _is_shared_in_all(w):
        return _cluster_ids_of(w)
    if not _is_shared_in_channels(w):
        return np.where(w == 0, 0, np.cumsum(w != 0).reshape(w.shape)).astype(np.int32)
    channels = np.moveaxis(w, -1, 0)
    ids = np.stack([_cluster_ids_of(channel) for channel in channels])
    before = np.cumsum([0, *distinct_per_channel(w)[:-1]]).reshape(-1, *[1] * (w.ndim - 1))
    return np.moveaxis(np.where(ids > 0, ids + before, 0), 0, -1).astype(np.int32)


def cluster_projection(
    clusters: np.ndarray,
    take: Callable[[Any, np.ndarray], Any] = np.take,
    segment_sum: Callable[[Any, np.ndarray, int], Any] = lambda values, ids, count: np.bincount(
        ids, values, count
    ),
) -> Callable[[Any], Any]:
    """A function that sets each weight to the mean of its cluster, and zeros to zero, after each step of training.

    With gradient descent, this trains the shared values: each moves by the mean step of its weights. The mean is taken
    over differences from the cluster's first weight, so that weights that are already equal stay the same bit for bit.
    All weights of a cluster get the same number.

    Args:
      clusters: the result of `cluster_ids`, any shape.
      take, segment_sum: functions of the framework that trains: values by index (values, indices), and sums of
        values by id (values, ids, number of ids).

    Returns:
      a function of flat weights [n] of the framework.

    >>> cluster_projection(np.array([1, 1, 0, 2]))(np.array([1.0, 3.0, 0.1, 7.0]))
    array([2., 2., 0., 7.])
    """
    # The 0 in front makes 0 the id of zeros, even if there are no zeros.
    _, first, ids, sizes = np.unique(
        np.concatenate([[0], clusters.ravel()]),
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    ids, first = ids[1:].astype(np.int32), np.maximum(first - 1, 0).astype(np.int32)
    shares = (1 / sizes).astype(np.float32)
    nonzero = (np.arange(len(sizes)) > 0).astype(np.float32)

    def project(w: Any) -> Any:
        references = take(w, first)
        drift = segment_sum(w - take(references, ids), ids, len(sizes))
        return take((references + drift * shares) * nonzero, ids)

    return project


def nearest(w: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Each weight moved to the nearest of `centroids`; zero stays zero.

    Args:
      w: any shape.
      centroids: [k], in any order. If two are equally near, the lower is taken.

    >>> nearest(np.array([0.9, 0.0, -2.0, 2.5]), np.array([1.0, 3.0, -1.0]))
    array([ 1.,  0., -1.,  3.])
    """
    table = np.unique(centroids).astype(w.dtype)
    borders = (table[1:] + table[:-1]) / 2
    return np.where(w == 0, w, table[np.searchsorted(borders, w)])


def _cluster_ids_of(w: np.ndarray) -> np.ndarray:
    table = np.unique(w)
    table = table[table != 0]
    return np.where(w == 0, 0, np.searchsorted(table, w) + 1).astype(np.int32)


def _is_shared_in_all(w: np.ndarray) -> bool:
    return 0 < distinct(w) <= min(MAX_VALUES, _LARGEST_SHARE * int(np.count_nonzero(w)))


def _is_shared_in_channels(w: np.ndarray) -> bool:
    if w.ndim < 2:
        return False
    values = distinct_per_channel(w)
    return bool(
        0 < values.sum() <= _LARGEST_SHARE * np.count_nonzero(w) and values.max() <= MAX_VALUES
    )
