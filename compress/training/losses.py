"""What training minimises and what it reports of each epoch, with teachers or without."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from compress import backend
from compress.keras_models import layers

if TYPE_CHECKING:
    from compress.training.distillation import Distillation
    from compress.training.recipe import Recipe


TINY = 1e-8  # keeps logarithms and quotients finite


def loss(model: Any, recipe: Recipe, distillation: Distillation | None, keras: Any) -> Any:
    """The loss of a training, a Keras loss: the recipe's cross-entropy, or its weighted mean with that of distillation.

    With teachers, labels are [b, classes + k]: one-hot labels, then the targets of the teachers. In validation the
    targets are missing, and the loss is the recipe's cross-entropy.
    """
    probabilities = layers.gives_probabilities(model)
    label_cross_entropy = keras.losses.CategoricalCrossentropy(
        from_logits=not probabilities, label_smoothing=recipe.label_smoothing
    )
    if distillation is None:
        return label_cross_entropy
    teachers, classes = distillation, model.output_shape[-1]

    class DistillationLoss(keras.losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            label_loss = label_cross_entropy.call(y_true[:, :classes], y_pred)
            if y_true.shape[-1] == classes:
                return label_loss
            teacher_loss = teachers.loss(y_true[:, classes:], y_pred, probabilities)
            return (1 - teachers.weight) * label_loss + teachers.weight * teacher_loss

    return DistillationLoss()


def metrics(model: Any, keras: Any) -> list[Any]:
    """Accuracy, and cross-entropy without label smoothing, against the one-hot columns of the labels."""
    from_logits = not layers.gives_probabilities(model)
    classes = model.output_shape[-1]

    def accuracy(y_true: Any, y_pred: Any) -> Any:
        return keras.metrics.categorical_accuracy(y_true[:, :classes], y_pred)

    def cross_entropy(y_true: Any, y_pred: Any) -> Any:
        return keras.losses.categorical_crossentropy(
            y_true[:, :classes], y_pred, from_logits=from_logits
        )

    mean_metric = keras.metrics.MeanMetricWrapper
    return [
        mean_metric(accuracy, name="accuracy"),
        mean_metric(cross_entropy, name="cross_entropy"),
    ]


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
