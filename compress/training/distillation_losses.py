"""Losses of a student against its teachers' scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from compress import backend

TINY = 1e-8  # keeps logarithms and quotients finite


def softened(scores: Any, temperature: float, probabilities: bool = False) -> Any:
    """Class probabilities at a temperature: softmax(logits / temperature).

    Args:
      scores: logits float32 [n, classes], or probabilities of the same shape if `probabilities`.
      temperature: above 0. At 1 these are the model's own probabilities; as it grows they become equal.

    Returns:
      float32 [n, classes], rows sum to 1.
    """
    ops = backend.keras().ops
    logits = ops.log(ops.maximum(scores, TINY)) if probabilities else scores
    return ops.softmax(logits / temperature, axis=-1)


def soft_target_loss(teacher: Any, student: Any, temperature: float) -> Any:
    """Kullback-Leibler divergence of softened teacher from softened student, per example.

    Hinton et al. 2015, section 2 (https://arxiv.org/abs/1503.02531). Multiplied by temperature squared, as there, so
    that its gradient does not shrink as temperature grows.

    Args:
      teacher, student: softened probabilities, float32 [n, classes].

    Returns:
      float32 [n], zero where they are equal.
    """
    ops = backend.keras().ops
    ratio = ops.log(ops.maximum(teacher, TINY)) - ops.log(ops.maximum(student, TINY))
    return temperature**2 * ops.sum(teacher * ratio, axis=-1)


def dist_loss(teacher: Any, student: Any, temperature: float) -> Any:
    """How little the student's relations between classes, and between images, correlate with the teacher's.

    DIST, Huang et al. 2022, equations 9 to 12 (https://arxiv.org/abs/2205.10536): one minus Pearson's correlation,
    once over the classes of each image, once over the images of each class, both with the same weight. It asks for the
    teacher's ranking, not for its very probabilities, which a much smaller student cannot match.

    Args:
      teacher, student: softened probabilities, float32 [n, classes]; n is a batch.

    Returns:
      float32 [n], each between 0 and 4 times temperature squared.
    """
    ops = backend.keras().ops
    among_classes = 1 - _correlation(teacher, student, axis=-1)
    among_images = 1 - ops.mean(_correlation(teacher, student, axis=0))
    return temperature**2 * (among_classes + among_images)


LOSSES: dict[str, Callable[[Any, Any, float], Any]] = {
    "soft-targets": soft_target_loss,
    "relations": dist_loss,
}


def _correlation(x: Any, y: Any, axis: int) -> Any:
    """Pearson's correlation of two arrays along an axis."""
    ops = backend.keras().ops
    x = x - ops.mean(x, axis=axis, keepdims=True)
    y = y - ops.mean(y, axis=axis, keepdims=True)
    lengths = ops.sqrt(ops.sum(x * x, axis=axis) * ops.sum(y * y, axis=axis) + TINY**2)
    return ops.sum(x * y, axis=axis) / lengths
