"""Centroids, the values that the weights of a kernel share: k-means and other initializations."""

from __future__ import annotations

import numpy as np

_ROUNDS = 100  # highest number of k-means iterations; it converges much earlier


INITIALIZATIONS = ("kmeans++", "density-based", "linear", "random")


def centroids_of(w: np.ndarray, k: int, initialization: str, seed: int) -> np.ndarray:
    """Initial centroids of the non-zero weights of `w`: dtype of `w`, [k], ascending.

    At most half as many centroids differ as there are non-zero weights, but at least one: with a centroid for each
    weight, no value would be shared. Further centroids repeat the last one. All are 0 if all weights are 0.

    Args:
      w: any shape.
      k: number of centroids, at least 1.
      seed: decides what "random" and "kmeans++" draw.
      initialization: "linear": evenly spaced between the least and the greatest weight. "random": drawn uniformly
        between them. "density-based": equally many weights between each two. "kmeans++": weights drawn far
        from each other (Arthur and Vassilvitskii 2007), then k-means: each centroid is moved to the mean of the
        weights nearest to it, until none moves.
    """
    values = np.sort(w[w != 0].astype(np.float64))
    if not len(values):
        return np.zeros(k, w.dtype)
    count = max(1, min(k, len(values) // 2))
    rng = np.random.default_rng(seed)
    if initialization == "linear":
        centroids = np.linspace(values[0], values[-1], count)
    elif initialization == "random":
        centroids = np.sort(rng.uniform(values[0], values[-1], count))
    elif initialization == "density-based":
        centroids = np.quantile(values, np.linspace(0, 1, count))
    else:
        centroids = _k_means(values, _kmeans_plus_plus(values, count, rng))
    return np.pad(centroids, (0, k - count), mode="edge").astype(w.dtype)


def _kmeans_plus_plus(values: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` of the values, each with a probability that grows with its squared distance to those drawn before."""
    drawn = [rng.choice(values)]
    squares = (values - drawn[0]) ** 2
    while len(drawn) < count and squares.any():
        drawn.append(rng.choice(values, p=squares / squares.sum()))
        squares = np.minimum(squares, (values - drawn[-1]) ** 2)
    return np.pad(np.sort(drawn), (0, count - len(drawn)), mode="edge")


def _k_means(values: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Centroids after k-means: each moves to the mean of the ascending `values` nearest to it, until none moves."""
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
