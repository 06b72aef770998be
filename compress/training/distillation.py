"""Distillation: a student learns from labels and from teachers, by one more term of its loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compress.keras_models import layers
from compress.keras_models.model import KerasModel
from compress.training.distillation_losses import soft_target_loss, softened
from compress.training.precision import Precision, compiled_copy


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """The teachers of a student, and the settings of the distillation loss on every training batch.

    The loss is `(1 - weight) * own + weight * soft_target_loss`, where `own` is the loss of the recipe.
    """

    teachers: tuple[KerasModel, ...]  # have the student's input shape and classes; never changed
    temperature: float = 4.0
    weight: float = 0.9  # in [0, 1]: 0 is training without teachers, 1 is training without labels

    def spec(self) -> dict[str, Any]:
        """All settings that decide what is learned, as JSON values."""
        teachers = [teacher.digest for teacher in self.teachers]
        return {"temperature": self.temperature, "weight": self.weight, "teachers": teachers}

    def targets(self, precision: Precision = "float32") -> Callable[[np.ndarray], np.ndarray]:
        """A function from scaled images, as models see them, to the teachers' mean softened probabilities [b, classes].

        Args:
          precision: the precision that teachers compute in.
        """
        copies = [compiled_copy(teacher, precision) for teacher in self.teachers]

        def mean_probabilities(images: np.ndarray) -> np.ndarray:
            means = [
                softened(
                    copy.predict_on_batch(images),
                    self.temperature,
                    layers.gives_probabilities(copy),
                )
                for copy in copies
            ]
            return np.array([np.array(m) for m in means], np.float32).mean(axis=0)

        return mean_probabilities

    def mean_softened(self, logits: Sequence[np.ndarray]) -> np.ndarray:
        """The same as `targets` computes, but from logits [b, classes] of each teacher: float32 [b, classes]."""
        each = [np.array(softened(scores, self.temperature)) for scores in logits]
        return np.array(each, np.float32).mean(axis=0)

    def loss(self, targets: Any, scores: Any, probabilities: bool) -> Any:
        """The loss of the student's scores against `targets`, both [b, classes]: float32 [b], without `weight`."""
        student = softened(scores, self.temperature, probabilities)
        return soft_target_loss(targets, student, self.temperature)
