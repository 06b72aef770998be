"""What training minimises and what it reports of each epoch, with teachers or without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compress.keras_models import layers

if TYPE_CHECKING:
    from compress.training.distillation import Teaching
    from compress.training.fit import Recipe


def loss(model: Any, recipe: Recipe, teaching: Teaching | None, keras: Any) -> Any:
    """The recipe's cross-entropy; with teachers, its weighted mean with what they say.

    Labels that reach a taught loss are [b, classes + k]: one-hot labels, then the targets of the teachers. Where those
    are missing, in validation, it is the recipe's own.
    """
    probabilities = layers.gives_probabilities(model)
    own = keras.losses.CategoricalCrossentropy(
        from_logits=not probabilities, label_smoothing=recipe.label_smoothing
    )
    if teaching is None:
        return own
    teachers, classes = teaching, model.output_shape[-1]

    class Taught(keras.losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            of_labels = own.call(y_true[:, :classes], y_pred)
            if y_true.shape[-1] == classes:
                return of_labels
            of_teachers = teachers.loss(y_true[:, classes:], y_pred, probabilities)
            return (1 - teachers.weight) * of_labels + teachers.weight * of_teachers

    return Taught()


def metrics(model: Any, keras: Any) -> list[Any]:
    """Accuracy, and cross-entropy without label smoothing, against the one-hot labels that labels begin with."""
    logits = not layers.gives_probabilities(model)
    classes = model.output_shape[-1]

    def accuracy(y_true: Any, y_pred: Any) -> Any:
        return keras.metrics.categorical_accuracy(y_true[:, :classes], y_pred)

    def cross_entropy(y_true: Any, y_pred: Any) -> Any:
        return keras.losses.categorical_crossentropy(
            y_true[:, :classes], y_pred, from_logits=logits
        )

    of_mean = keras.metrics.MeanMetricWrapper
    return [of_mean(accuracy, name="accuracy"), of_mean(cross_entropy, name="cross_entropy")]
