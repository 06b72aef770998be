"""The loss that training minimizes and the metrics that it reports, with or without teachers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compress.keras_models import layers

if TYPE_CHECKING:
    from compress.training.distillation import Distillation
    from compress.training.recipe import Recipe


def loss(model: Any, recipe: Recipe, distillation: Distillation | None, keras: Any) -> Any:
    """The Keras loss of a training: the recipe's cross-entropy, or its weighted mean with the distillation loss.

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
