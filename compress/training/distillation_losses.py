"""The loss of a student against its teachers' scores."""

from __future__ import annotations

from typing import Any

from compress import backend

TINY = 1e-8  # keeps logarithms finite


def softened(scores: Any, temperature: float, probabilities: bool = False) -> Any:
    """Class probabilities at a temperature: softmax(logits / temperature).

    Args:
      scores: logits float32 [n, classes], or probabilities of the same shape if `probabilities`.
      temperature: above 0. At 1 the result is the model's own probabilities; as it grows, they become equal.

    Returns:
      float32 [n, classes], rows sum to 1.
    """
    ops = backend.keras().ops
    logits = ops.log(ops.maximum(scores, TINY)) if probabilities else scores
    return ops.softmax(logits / temperature, axis=-1)


def soft_target_loss(teacher: Any, student: Any, temperature: float) -> Any:
    """Kullback-Leibler divergence of softened teacher from softened student, per example.

    Hinton et al. 2015, section 2 (https://arxiv.org/abs/1503.02531). It is multiplied by temperature squared, as in
    the paper, so that its gradient does not shrink as temperature grows.

    Args:
      teacher, student: softened probabilities, float32 [n, classes].

    Returns:
      float32 [n], zero where teacher and student are equal.
    """
    ops = backend.keras().ops
    ratio = ops.log(ops.maximum(teacher, TINY)) - ops.log(ops.maximum(student, TINY))
    return temperature**2 * ops.sum(teacher * ratio, axis=-1)
