"""Values for the weights of a kernel to share: k-means, and how it begins."""

from __future__ import annotations

import numpy as np

_ROUNDS = 100  # of k-means; it has settled long before


INITIALIZATIONS = ("kmeans++", "density-based", "linear", "random")


def centroids_of(w: np.ndarray, k: int, initialization: str, seed: int) -> np.ndarray:
    """The values that the non-zero weights of `w` begin to share: [k], ascending; equal ones if fewer are of use.

    Never more than half as many as there are non-zero weights: a value for each weight would share nothing.

    Args:
      initialization: "linear": evenly spaced between the least and the greatest weight. "random": drawn evenly
        between them. "density-based": as many weights between each two. "kmeans++": weights drawn far from each other
        (Arthur and Vassilvitskii 2007), then each to the mean of the weights that are nearest to it, until that
        changes nothing.
    """
    values = np.sort(w[w != 0].astype(np.float64))
    if not len(values):
        return np.zeros(k, w.dtype)
    count = max(1, min(k, len(values) // 2))
    rng = np.random.default_rng(seed)
    if initialization == "linear":
        found = np.linspace(values[0], values[-1], count)
    elif initialization == "random":
        found = np.sort(rng.uniform(values[0], values[-1], count))
    elif initialization == "density-based":
        found = np.quantile(values, np.linspace(0, 1, count))
    else:
        found = _k_means(values, _far_apart(values, count, rng))
    return np.pad(found, (0, k - count), mode="edge").astype(w.dtype)


def _far_apart(values: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` of the values, each drawn with a chance that grows with the squared distance to those drawn before."""
    drawn = [rng.choice(values)]
    squares = (values - drawn[0]) ** 2
    while len(drawn) < count and squares.any():
        drawn.append(rng.choice(values, p=squares / squares.sum()))
        squares = np.minimum(squares, (values - drawn[-1]) ** 2)
    return np.pad(np.sort(drawn), (0, count - len(drawn)), mode="edge")


def _k_means(values: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Centroids, each moved to the mean of the ascending `values` nearest to it until that moves none."""
    sums = np.concatenate([[0], np.cumsum(values)])
    for _ in range(_ROUNDS):
        borders = np.searchsorted(values, (centroids[1:] + centroids[:-1]) / 2)
        edges = np.concatenate([[0], borders, [len(values)]])
        sizes = np.diff(edges)
        means = np.divide(np.diff(sums[edges]), sizes, out=centroids.copy(), where=sizes > 0)
        if np.array_equal(means, centroids):
            break
        centroids = means
    return np.sort(centroids)
