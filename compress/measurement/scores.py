"""Accuracy and cross-entropy of the scores of images, from their labels. Arithmetic on arrays only."""

from __future__ import annotations

import numpy as np

# Lower probabilities count as this one, so that a label of probability 0 costs 16.1 and not infinity.
LEAST_PROBABILITY = 1e-7


def is_correct(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """bool [n]: true if the label has the highest score [n, classes]; among equal scores, the first class counts."""
    return scores.argmax(axis=1) == labels


def top1(scores: np.ndarray, labels: np.ndarray) -> float:
    """Fraction of images whose highest score is the label's.

    >>> top1(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    0.5
    """
    return float(is_correct(scores, labels).mean())


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Natural logarithms of the softmax of logits [n, classes]: float64 [n, classes], finite also for large logits."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def log_of_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Natural logarithms, float64 [n, classes], of probabilities clipped to the range from `LEAST_PROBABILITY` to 1."""
    return np.log(np.clip(probabilities.astype(np.float64), LEAST_PROBABILITY, 1))


def cross_entropy(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean over images of minus the natural logarithm of the label's probability, in nats.

    >>> round(cross_entropy(np.log([[0.5, 0.5], [0.25, 0.75]]), np.array([0, 1])), 4)
    0.4904
    """
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())
