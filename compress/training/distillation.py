"""Teaching: what a model can learn from another one besides labels, as one more term of its loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from compress import backend
from compress.keras_models import layers
from compress.keras_models.model import KerasModel

TINY = 1e-8  # keeps logarithms and quotients finite


def softened(scores: Any, temperature: float, probabilities: bool = False) -> Any:
    """Class probabilities at a temperature: softmax(logits / temperature).

    Args:
      scores: logits float32 [n, classes], or probabilities of the same shape if `probabilities`.
      temperature: above 0. At 1 the model's own probabilities; as it grows all classes weigh alike.

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


def relation_loss(teacher: Any, student: Any, temperature: float) -> Any:
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
    "relations": relation_loss,
}
Method = Literal["soft-targets", "relations"]


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """Teachers, and how a student learns from them on every batch that it is trained on.

    The loss of a taught training is `(1 - weight) * own + weight * method`, where `own` is that of the recipe.
    """

    teachers: tuple[KerasModel, ...]  # of the student's input shape and classes; never changed
    method: Method = "soft-targets"
    temperature: float = 4.0
    weight: float = 0.9  # in [0, 1]: 0 is training without teachers, 1 is training without labels

    def spec(self) -> dict[str, Any]:
        """Everything that decides what is learned, in JSON."""
        own = {"method": self.method, "temperature": self.temperature, "weight": self.weight}
        return own | {"teachers": [teacher.digest for teacher in self.teachers]}

    def targets(self) -> Callable[[np.ndarray], np.ndarray]:
        """A function from images, as models see them, to the teachers' mean softened probabilities [b, classes]."""
        keras = backend.keras()
        copies = [teacher.copy().keras for teacher in self.teachers]
        for copy in copies:
            copy.compile(jit_compile=False if backend.uses_tensorflow(keras) else "auto")

        def of(images: np.ndarray) -> np.ndarray:
            means = [
                softened(
                    copy.predict_on_batch(images),
                    self.temperature,
                    layers.gives_probabilities(copy),
                )
                for copy in copies
            ]
            return np.array([np.array(m) for m in means], np.float32).mean(axis=0)

        return of

    def loss(self, targets: Any, scores: Any, probabilities: bool) -> Any:
        """What the student's scores [b, classes] lose against `targets`, float32 [b], before `weight`."""
        student = softened(scores, self.temperature, probabilities)
        return LOSSES[self.method](targets, student, self.temperature)


def _correlation(x: Any, y: Any, axis: int) -> Any:
    """Pearson's correlation of two arrays along an axis."""
    ops = backend.keras().ops
    x = x - ops.mean(x, axis=axis, keepdims=True)
    y = y - ops.mean(y, axis=axis, keepdims=True)
    lengths = ops.sqrt(ops.sum(x * x, axis=axis) * ops.sum(y * y, axis=axis) + TINY**2)
    return ops.sum(x * y, axis=axis) / lengths
